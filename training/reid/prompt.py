"""MiniLM in torch for one purpose: a learned prompt, whose vectors stand before a phrase's words.

Zhou et al., IJCV 2022 (CoOp): the encoder stays as it is, only the prompt's vectors learn. Serving runs the same
encoder in NumPy (`models/reid/text.py`); a test holds that the two agree.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.reid.text import EPSILON, HEADS, LAYERS, TextEncoder

__all__ = ["PromptedEncoder"]


class PromptedEncoder:
    """Encodes a fixed list of sentences after any context."""

    def __init__(self, encoder: TextEncoder, sentences: list[str]) -> None:
        self._weights = {name: torch.from_numpy(values) for name, values in encoder.weights.items()}
        ids = [encoder.word_ids(sentence) for sentence in sentences]
        longest = max(len(one) for one in ids)
        self._ids = torch.tensor([one + [0] * (longest - len(one)) for one in ids])
        self._lengths = torch.tensor([len(one) for one in ids])

    def words(self, encoder: TextEncoder, text: str) -> Tensor:
        """The vocabulary's vectors of a text [K, 384], to begin a context from."""
        return self._weights["embeddings.word_embeddings.weight"][encoder.word_ids(text)[1:-1]].clone()

    def __call__(self, context: Tensor) -> Tensor:
        """Context [K, 384] -> unit vectors [sentences, 384]."""
        words = self._weights["embeddings.word_embeddings.weight"][self._ids]
        before = context[None].expand(len(words), -1, -1)
        states = torch.cat((words[:, :1], before, words[:, 1:]), dim=1)
        count = states.shape[1]
        states = states + self._weights["embeddings.position_embeddings.weight"][:count]
        states = self._norm(
            states + self._weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm"
        )
        read = torch.arange(count)[None] < self._lengths[:, None] + len(context)
        for layer in range(LAYERS):
            states = self._layer(states, read, f"encoder.layer.{layer}.")
        mean = (states * read[..., None]).sum(dim=1) / read.sum(dim=1, keepdim=True)
        return F.normalize(mean, dim=1)

    def _layer(self, states: Tensor, read: Tensor, at: str) -> Tensor:
        query, key, value = (
            self._dense(states, f"{at}attention.self.{part}").unflatten(2, (HEADS, -1)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=read[:, None, None])
        mixed = self._dense(mixed.transpose(1, 2).flatten(2), f"{at}attention.output.dense")
        states = self._norm(states + mixed, f"{at}attention.output.LayerNorm")
        inner = F.gelu(self._dense(states, f"{at}intermediate.dense"))
        return self._norm(states + self._dense(inner, f"{at}output.dense"), f"{at}output.LayerNorm")

    def _dense(self, states: Tensor, name: str) -> Tensor:
        return F.linear(states, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _norm(self, states: Tensor, name: str) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return F.layer_norm(states, weight.shape, weight, bias, EPSILON)
