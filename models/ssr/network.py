"""The reconstruction network: accumulate, then filter the irradiance with kernels that a small U-shaped net predicts.

After "High-Quality Real-Time Rendering Using Subpixel Sampling Reconstruction" (AAAI-24): the temporal feature
accumulator weighs history against the frame by a softmax over embeddings (its equation 1), the U takes the warped
previous output, albedo is divided out and multiplied back. Three things differ, each for a reason:

- It works at half resolution by space to depth: a 2x2 tile has one sample, so a half-resolution pixel always has one.
- Linear irradiance is accumulated by sample counts, and only filtered: predicted 3x3 kernels on a pyramid, joined from
  coarse to fine by predicted upsampling taps. A weighted mean of linear samples is not darkened by their spread, as a
  mean of ln(1+x) is, and is independent of exposure. ln(1+x) is what the net sees (paper, "Demodulation").
- The warp is done by the caller in float32 (`models.ssr.warp`): grid coordinates do not survive bf16.

All planes come at full resolution; sides are multiples of 16.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["FRAME_CHANNELS", "HISTORY_CHANNELS", "SsrNetwork", "base_colour"]

FRAME_CHANNELS = 19
HISTORY_CHANNELS = 11
WIDTHS = (16, 32, 48, 64)
EMBEDDING = 8
STEM_FEATURES = 20
TILE_FEATURES = 9
KERNEL = 9
TAPS = 16
"""Upsampling: for each of the 4 finer pixels the weights of its 4 nearest coarse ones."""
MAX_COUNT = 8.0
DARKEST_BASE = 0.04
DEPTH_TOLERANCE = 0.1


class SsrNetwork(nn.Module):
    """Frame [N, 19, H, W] and warped history [N, 11, H, W] to linear radiance [N, 3, H, W] and the new history.

    Frame channels: radiance 3, mask, albedo 3, normal 3, shadow 3, transparent 3, depth, metallic, roughness.
    History channels: irradiance summed over its samples 3, their count, previous output irradiance 3, normal 3, depth.
    Radiance has a mean near 0.3 and depth a mean of 1 (`models.ssr.preprocess`); irradiance is linear, demodulated.
    """

    def __init__(self, widths: tuple[int, int, int, int] = WIDTHS) -> None:
        super().__init__()
        first, second, third, fourth = widths
        self.embed_reference = _two_layers(EMBEDDING + 4, EMBEDDING, EMBEDDING)
        self.embed = _two_layers(EMBEDDING, EMBEDDING, EMBEDDING)
        self.stem = nn.Conv2d(STEM_FEATURES, first, 2, stride=2)
        self.encode1 = _layer(first + TILE_FEATURES, first)
        self.trust = nn.Conv2d(first, 1, 1)
        self.encode2 = nn.Sequential(_layer(first, second, stride=2), _layer(second, second))
        self.encode3 = nn.Sequential(_layer(second, third, stride=2), _layer(third, third))
        self.encode4 = nn.Sequential(_layer(third, fourth, stride=2), _layer(fourth, fourth))
        self.skip3, self.decode3 = nn.Conv2d(fourth, third, 1), _layer(third, third)
        self.skip2, self.decode2 = nn.Conv2d(third, second, 1), _layer(second, second)
        self.skip1, self.decode1 = nn.Conv2d(second, first, 1), _layer(first, first)
        self.head4 = nn.Conv2d(fourth, KERNEL + TAPS, 1)
        self.head3 = nn.Conv2d(third, KERNEL + TAPS + 1, 1)
        self.head2 = nn.Conv2d(second, KERNEL + TAPS + 1, 1)
        self.head1 = nn.Conv2d(first, KERNEL + TAPS + 1 + 12, 1)
        self._start_mild()

    def forward(self, frame: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
        """Radiance [N, 3, H, W] (linear, scaled as the input) and history [N, 11, H, W] of this frame."""
        radiance, mask, albedo, normal = frame[:, 0:3], frame[:, 3:4], frame[:, 4:7], frame[:, 7:10]
        depth = frame[:, 16:17]
        base = base_colour(albedo)
        irradiance = radiance / base * mask
        agreement = _agreement(normal, depth, history)
        accumulated, count, balance, tile = self._accumulate(irradiance, mask, normal, depth, history, agreement)
        before = history[:, 4:7] * agreement

        features = torch.cat(
            [
                torch.log1p(accumulated),
                count / (1 + count),
                albedo,
                normal,
                depth / (1 + depth),
                frame[:, 17:19],
                frame[:, 13:16],
                torch.log1p(before),
                agreement,
            ],
            1,
        )
        shadow = F.avg_pool2d(frame[:, 10:13].mean(1, keepdim=True), 2) * 4
        weight = F.avg_pool2d(count, 2)
        level1 = F.avg_pool2d(accumulated * count, 2) / (weight + 1e-4)
        tiles = torch.cat([torch.log1p(tile), shadow, torch.log1p(level1), weight / (1 + weight), balance], 1)
        e1 = self.encode1(torch.cat([F.relu(self.stem(features)), tiles], 1))
        e2 = self.encode2(e1)
        e3 = self.encode3(e2)
        e4 = self.encode4(e3)
        d3 = self.decode3(_double(self.skip3(e4)) + e3)
        d2 = self.decode2(_double(self.skip2(d3)) + e2)
        d1 = self.decode1(_double(self.skip1(d2)) + e1)

        weight = weight * torch.sigmoid(self.trust(e1))
        level2, weight2 = _pool(level1, weight)
        level3, weight3 = _pool(level2, weight2)
        level4, weight4 = _pool(level3, weight3)
        heads4, heads3, heads2, heads1 = self.head4(e4), self.head3(d3), self.head2(d2), self.head1(d1)
        coarse = _filter(level4, weight4, heads4[:, :KERNEL])
        coarse = _refine(coarse, heads4, level3, weight3, heads3)
        coarse = _refine(coarse, heads3, level2, weight2, heads2)
        coarse = _refine(coarse, heads2, level1, weight, heads1)
        fine = _raise(coarse, heads1[:, KERNEL : KERNEL + TAPS])
        output = _join(fine, accumulated, count, before, agreement, heads1[:, KERNEL + TAPS + 1 :])
        return output * base, torch.cat([accumulated * count, count, output, normal, depth], 1)

    def _accumulate(
        self, irradiance: Tensor, mask: Tensor, normal: Tensor, depth: Tensor, history: Tensor, agreement: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Equation 1 with sample counts: irradiance and count at full, the balance alpha and the tile at half.

        The weights see the frame's radiance over 8x8 pixels only: a weight that follows the very sample which it weighs
        makes the mean drift, frame by frame. History is kept as sums, so that the warp mixes samples by their counts.
        """
        traced = F.avg_pool2d(mask, 2)
        tile = F.avg_pool2d(irradiance, 2) / (traced + 1e-4)
        kept = history[:, 3:4] * agreement
        kept_tile = F.avg_pool2d(kept, 2)
        summed = history[:, 0:3] * agreement
        past = F.avg_pool2d(summed, 2) / (kept_tile + 1e-4)
        around = F.interpolate(F.avg_pool2d(tile, 4), scale_factor=4.0, mode="nearest")
        now_features = torch.cat([torch.log1p(around), F.avg_pool2d(normal, 2), _depth_tile(depth), traced], 1)
        past_features = torch.cat(
            [torch.log1p(past), F.avg_pool2d(history[:, 7:10], 2), _depth_tile(history[:, 10:11]), kept_tile * 0.25], 1
        )
        reference = self.embed_reference(torch.cat([now_features, F.pixel_unshuffle(mask, 2)], 1))
        score = (reference * (self.embed(past_features) - self.embed(now_features))).sum(1, keepdim=True)
        balance = torch.sigmoid(score)  # the softmax of two
        alpha = F.interpolate(balance, scale_factor=2.0, mode="nearest") * 2
        kept, fresh = kept * alpha, mask * (2 - alpha)
        count = kept + fresh
        accumulated = (summed * alpha + irradiance * fresh) / (count + 1e-4)
        return accumulated, torch.clamp(count, max=MAX_COUNT), balance, tile

    def _start_mild(self) -> None:
        """Begin near plain accumulation and pyramid blur, so that training starts from a picture."""
        with torch.no_grad():
            for head in (self.head4, self.head3, self.head2, self.head1, self.trust):
                head.weight.mul_(0.1)
                head.bias.zero_()
            self.trust.bias.fill_(2.0)
            self.head1.bias[KERNEL + TAPS + 5 : KERNEL + TAPS + 9].fill_(-1.0)


def base_colour(albedo: Tensor) -> Tensor:
    """What radiance is divided by: albedo, but 1 where it is black (glass, lights, mirrors), never under 0.04."""
    black = torch.clamp(1 - 20 * albedo.amax(1, keepdim=True), 0, 1)
    return torch.clamp(albedo + black * (1 - albedo), min=DARKEST_BASE)


def _layer(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1), nn.ReLU())


def _two_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, outputs, 3, padding=1))


def _double(values: Tensor) -> Tensor:
    return F.interpolate(values, scale_factor=2.0, mode="nearest")


def _depth_tile(depth: Tensor) -> Tensor:
    return F.avg_pool2d(depth / (1 + depth), 2)


def _agreement(normal: Tensor, depth: Tensor, history: Tensor) -> Tensor:
    """1 where the warped pixel shows the same surface, 0 where it was hidden; [N, 1, H, W] with a narrow ramp."""
    turned = ((history[:, 7:10] - normal) ** 2).sum(1, keepdim=True)
    moved = (history[:, 10:11] - depth).abs() / (DEPTH_TOLERANCE * depth + 1e-3)
    return torch.clamp(3 - 5 * turned, 0, 1) * torch.clamp(3 - 2 * moved, 0, 1)


def _pool(values: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Half the size: the weighted mean, and the mean weight."""
    pooled = F.avg_pool2d(weight, 2)
    return F.avg_pool2d(values * weight, 2) / (pooled + 1e-5), pooled


def _filter(values: Tensor, weight: Tensor, logits: Tensor) -> Tensor:
    """Mean over 3x3 by predicted kernels [N, 9, h, w] times the samples' weights."""
    kernels = torch.softmax(logits, 1)
    stacked = F.pad(torch.cat([values * weight, weight], 1), (1, 1, 1, 1))
    height, width = values.shape[2], values.shape[3]
    total = None
    for tap in range(KERNEL):
        row, column = divmod(tap, 3)
        term = kernels[:, tap : tap + 1] * stacked[:, :, row : row + height, column : column + width]
        total = term if total is None else total + term
    return total[:, :3] / (total[:, 3:4] + 1e-5)


def _raise(coarse: Tensor, logits: Tensor) -> Tensor:
    """Twice the size: each finer pixel is a predicted mean of its four nearest coarse ones."""
    _batch, _channels, height, width = coarse.shape
    padded = F.pad(coarse, (1, 1, 1, 1), mode="replicate")
    phases = []
    for phase in range(4):
        down, across = divmod(phase, 2)
        taps = torch.softmax(logits[:, 4 * phase : 4 * phase + 4], 1)
        total = None
        for tap in range(4):
            row, column = down + tap // 2, across + tap % 2
            term = taps[:, tap : tap + 1] * padded[:, :, row : row + height, column : column + width]
            total = term if total is None else total + term
        phases.append(total)
    return F.pixel_shuffle(torch.stack(phases, 2).flatten(1, 2), 2)


def _refine(coarse: Tensor, coarse_heads: Tensor, values: Tensor, weight: Tensor, heads: Tensor) -> Tensor:
    """One level finer: the level's own filtered samples against the raised coarser result."""
    raised = _raise(coarse, coarse_heads[:, KERNEL : KERNEL + TAPS])
    own = _filter(values, weight, heads[:, :KERNEL])
    blend = torch.sigmoid(heads[:, KERNEL + TAPS : KERNEL + TAPS + 1])
    return own + blend * (raised - own)


def _join(
    fine: Tensor, accumulated: Tensor, count: Tensor, before: Tensor, agreement: Tensor, logits: Tensor
) -> Tensor:
    """At full size: filtered, the pixel's own samples, the previous output; by predicted shares where they exist."""
    shares = torch.softmax(logits.unflatten(1, (3, 4)), 1)
    filtered, own, past = (F.pixel_shuffle(shares[:, index], 2) for index in range(3))
    own = own * torch.clamp(count, max=1.0)
    past = past * agreement
    return (filtered * fine + own * accumulated + past * before) / (filtered + own + past + 1e-4)
