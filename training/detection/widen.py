"""A wider detector that begins as a narrower, trained one: it says the same, and has room to learn more.

After Net2Net (Chen et al., ICLR 2016): what the narrow one computes stays, new channels begin at random, and nobody
listens to them yet.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.detection.network import DetectorNet

__all__ = ["widen"]


@torch.no_grad()
def widen(wide: DetectorNet, narrow: DetectorNet) -> None:
    """Make `wide`, new and of the same depth, answer as `narrow` does in evaluation."""
    depths = {name: len(one.pairs) for name, one in wide.named_modules() if hasattr(one, "pairs")}
    for (name, mine), its in zip(wide.named_modules(), narrow.modules(), strict=True):
        joined = _joined(name, depths)
        if isinstance(mine, nn.Conv2d) and isinstance(its, nn.Conv2d):
            rows = _places(its.out_channels, mine.out_channels, 2 if ".enter." in name else 1)
            columns = _places(its.in_channels, mine.in_channels, joined)
            mine.weight[rows] = 0.0
            mine.weight[rows[:, None], columns] = its.weight
            if mine.bias is not None and its.bias is not None:
                mine.bias[rows] = its.bias
        elif isinstance(mine, nn.BatchNorm2d) and isinstance(its, nn.BatchNorm2d):
            rows = _places(its.num_features, mine.num_features, 2 if ".enter." in name else 1)
            for key, value in its.state_dict().items():
                if value.ndim:
                    mine.state_dict()[key][rows] = value


def _joined(name: str, depths: dict[str, int]) -> int:
    """How many maps side by side a convolution reads."""
    if ".leave." in name:
        return 2 + depths[name.split(".leave.")[0]]
    return 3 if name.startswith("context.") else 1


def _places(narrow: int, wide: int, groups: int) -> Tensor:
    """Where the narrow network's channels are in the wide one: at the beginning of each of `groups`."""
    begins = torch.arange(groups)[:, None] * (wide // groups)
    return (begins + torch.arange(narrow // groups)).flatten()
