"""The reconstruction network: accumulate, then filter the irradiance with kernels that a small U-shaped net predicts.

After "High-Quality Real-Time Rendering Using Subpixel Sampling Reconstruction" (AAAI-24): the temporal feature
accumulator weighs history against the frame by a softmax over embeddings (its equation 1), every encoder scale gets the
warped previous output, albedo is divided out and multiplied back. What differs, each for a reason:

- It works at half resolution by space to depth: a 2x2 tile has one sample, so a half-resolution pixel always has one.
- Linear irradiance is accumulated by sample counts, and only filtered: predicted kernels on a pyramid, joined from
  coarse to fine by predicted upsampling taps, and a gain for what geometry tells (creases, contact). A weighted mean of
  linear samples is not darkened by their spread, as a mean of ln(1+x) is, and is independent of exposure.
- The net sees a curve of roots where the paper has ln(1+x): OpenVINO takes 3 of 36 ms for logarithms.
- The weights of the accumulator are found on 8x8 blocks; what was hidden is told pixel by pixel, without weights.
- Channels are parted by `split`, once, and pyramids pooled part by part: OpenVINO then keeps the filters' layers apart,
  and takes two thirds of the time that it takes with interleaved ones. A part of a part would be copied.
- The caller warps the history and tests whether it shows the same surface, in float32 (`models.ssr.carry`): grid
  coordinates do not survive bf16.

All planes come at full resolution; sides are multiples of 16.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.ssr.pyramid import TAPS, enlarge, filter_local, pool, refine, upsample

__all__ = ["FRAME_CHANNELS", "HISTORY_CHANNELS", "KEPT_CHANNELS", "SsrNetwork", "base_colour"]

FRAME_CHANNELS = 15
HISTORY_CHANNELS = 8
"""Of the frame before, brought here: its samples' summed irradiance 3, their count, output irradiance 3, agreement."""
KEPT_CHANNELS = 7
"""What is kept for the next frame: all of these but the agreement."""
WIDTHS = (16, 32, 48, 64)
EMBEDDING = 8
POOLED = 16
FEATURES = 15
LEVEL_FEATURES = 7
TILE_FEATURES = 4
NEAR_TAPS, WIDE_TAPS = 9, 26
FINE = (4, 4, 4)
"""Of each half-resolution pixel's four: shares of their own samples, of the previous output, and a gain."""
MAX_COUNT = 8.0
DARKEST_BASE = 0.1


class SsrNetwork(nn.Module):
    """Frame [N, 15, H, W] and history [N, 8, H, W] to linear radiance [N, 3, H, W] and what is kept [N, 7, H, W].

    Frame channels: radiance 3, mask, albedo 3, normal 3, means of shadow and transparent, depth, metallic, roughness.
    History is 0 where it shows another surface; its last channel, the agreement, says how surely it is the same.
    Radiance has a mean near 0.3 and depth a mean of 1 (`models.ssr.preprocess`); irradiance is linear, demodulated.
    """

    def __init__(self, widths: tuple[int, int, int, int] = WIDTHS) -> None:
        super().__init__()
        first, second, third, fourth = widths
        self.embed_reference = _two_layers(9, EMBEDDING)
        self.embed = _two_layers(5, EMBEDDING)
        self.stem = nn.Conv2d(FEATURES, first, 2, stride=2)
        self.encode1 = _layer(first + LEVEL_FEATURES + TILE_FEATURES, first)
        self.trust = nn.Conv2d(first, 1, 1)
        self.down2, self.encode2 = _layer(first, second, stride=2), _layer(second + LEVEL_FEATURES, second)
        self.down3, self.encode3 = _layer(second, third, stride=2), _layer(third + LEVEL_FEATURES, third)
        self.down4, self.encode4 = _layer(third, fourth, stride=2), _layer(fourth + LEVEL_FEATURES, fourth)
        self.skip3, self.decode3 = nn.Conv2d(fourth, third, 1), _layer(third, third)
        self.skip2, self.decode2 = nn.Conv2d(third, second, 1), _layer(second, second)
        self.skip1, self.decode1 = nn.Conv2d(second, first, 1), _layer(first, first)
        self.head4 = nn.Conv2d(fourth, TAPS + WIDE_TAPS, 1)
        self.head3 = nn.Conv2d(third, TAPS + NEAR_TAPS + 1, 1)
        self.head2 = nn.Conv2d(second, TAPS + NEAR_TAPS + 1, 1)
        self.head1 = nn.Conv2d(first, TAPS + NEAR_TAPS + 1 + sum(FINE), 1)
        self._start_mild()

    def forward(self, frame: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
        """Radiance [N, 3, H, W] (linear, scaled as the input) and what is kept of this frame [N, 7, H, W]."""
        mask, albedo, normal, depth = frame[:, 3:4], frame[:, 4:7], frame[:, 7:10], frame[:, 12:13]
        base = base_colour(albedo)
        irradiance = frame[:, 0:3] * mask / base
        kept_sums, kept_count, before, agreement = history.split((3, 1, 3, 1), 1)
        near = depth / (1 + depth)
        shadow, transparent = frame[:, 10:11], frame[:, 11:12]

        pooled = _tiles(torch.cat([irradiance, mask, kept_sums, kept_count, before, normal, near, shadow], 1))
        balance = self._balance(pooled)
        alpha = enlarge(balance, 8) * 2
        count = kept_count * alpha + mask * (2 - alpha)
        accumulated = (kept_sums * alpha + irradiance * (2 - alpha)) / (count + 1e-4)
        alpha = enlarge(balance, 4) * 2
        fresh, traced, sums, kept, before1, _surface, shadow = pooled.split((3, 1, 3, 1, 3, 4, 1), 1)
        weight1 = kept * alpha + traced * (2 - alpha)
        level1 = (sums * alpha + fresh * (2 - alpha)) / (weight1 + 1e-4)

        features = [
            _curve(accumulated.mean(1, keepdim=True)),
            count / (1 + count),
            _curve(before.mean(1, keepdim=True)),
        ]
        features += [agreement, mask, albedo, normal, near, frame[:, 13:15], transparent]
        stem = F.relu(self.stem(torch.cat(features, 1)))
        tile = [stem, _curve(fresh * 4), shadow * 4]
        e1 = self.encode1(torch.cat([*tile, *_level(level1, weight1, before1)], 1))
        weight1 = weight1 * torch.sigmoid(self.trust(e1))
        level2, weight2, before2 = pool(level1, weight1, before1)
        level3, weight3, before3 = pool(level2, weight2, before2)
        level4, weight4, before4 = pool(level3, weight3, before3)
        e2 = self.encode2(torch.cat([self.down2(e1), *_level(level2, weight2, before2)], 1))
        e3 = self.encode3(torch.cat([self.down3(e2), *_level(level3, weight3, before3)], 1))
        e4 = self.encode4(torch.cat([self.down4(e3), *_level(level4, weight4, before4)], 1))
        d3 = self.decode3(enlarge(self.skip3(e4), 2) + e3)
        d2 = self.decode2(enlarge(self.skip2(d3), 2) + e2)
        d1 = self.decode1(enlarge(self.skip1(d2), 2) + e1)

        taps4, kernels4 = self.head4(e4).split((TAPS, WIDE_TAPS), 1)
        taps3, kernels3, blend3 = self.head3(d3).split((TAPS, NEAR_TAPS, 1), 1)
        taps2, kernels2, blend2 = self.head2(d2).split((TAPS, NEAR_TAPS, 1), 1)
        taps1, kernels1, blend1, own, old, gain = self.head1(d1).split((TAPS, NEAR_TAPS, 1, *FINE), 1)
        coarse = upsample(filter_local(level4, weight4, kernels4), taps4)
        coarse = upsample(refine(coarse, level3, weight3, kernels3, blend3), taps3)
        coarse = upsample(refine(coarse, level2, weight2, kernels2, blend2), taps2)
        fine = upsample(refine(coarse, level1, weight1, kernels1, blend1), taps1)
        own, old, gain = _share(own) * count, _share(old) * agreement, torch.clamp(_share(gain), 0.4, 2.5)
        output = (fine * gain + own * accumulated + old * before) / (1 + own + old)
        kept = torch.clamp(count, max=MAX_COUNT)
        return output * base, torch.cat([accumulated * kept, kept, output], 1)

    def _balance(self, pooled: Tensor) -> Tensor:
        """The paper's alpha, of 8x8 pixels: the softmax of two scores, which is 0.5 where both count the same.

        Not of fewer pixels: a weight that follows the very sample which it weighs makes the mean drift, frame by frame.
        """
        around = F.avg_pool2d(pooled, 4)
        traced, kept = around[:, 3:4], around[:, 7:8]
        now, before = _curve(around[:, 0:3] * 4), _curve(around[:, 4:7] / (kept + 1e-3))
        known = kept / (1 + kept)
        reference = self.embed_reference(torch.cat([now, around[:, 11:16], known], 1))
        new = self.embed(torch.cat([now, torch.ones_like(traced), traced], 1))
        old = self.embed(torch.cat([before, kept / (kept + 0.05), known], 1))
        return torch.sigmoid((reference * (old - new)).sum(1, keepdim=True))

    def _start_mild(self) -> None:
        """Begin near plain accumulation and pyramid blur, so that training starts from a picture."""
        with torch.no_grad():
            for head in (self.head4, self.head3, self.head2, self.head1, self.trust):
                head.weight.mul_(0.1)
                head.bias.zero_()
            self.trust.bias.fill_(2.0)
            self.head1.bias[-sum(FINE) : -FINE[-1]].fill_(-1.0)


def base_colour(albedo: Tensor) -> Tensor:
    """What radiance is divided by: albedo, but 1 where it is black (glass, lights, mirrors), never under 0.1."""
    black = torch.clamp(1 - 20 * albedo.amax(1, keepdim=True), 0, 1)
    return torch.clamp(albedo + black * (1 - albedo), min=DARKEST_BASE)


def _layer(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1), nn.ReLU())


def _two_layers(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, padding=1))


def _curve(values: Tensor) -> Tensor:
    """0 to 1 for any radiance, nearly even over its orders of magnitude."""
    root = torch.sqrt(values + 1e-4)
    return root / (1 + root)


def _tiles(layers: Tensor) -> Tensor:
    """Means of 2x2, as a convolution: OpenVINO's pooling takes three times as long."""
    mean = torch.full((POOLED, 1, 2, 2), 0.25, dtype=layers.dtype, device=layers.device)
    return F.conv2d(layers, mean, stride=2, groups=POOLED)


def _share(logits: Tensor) -> Tensor:
    """A positive factor for each full-resolution pixel, from four channels at half resolution."""
    return torch.exp(torch.clamp(F.pixel_shuffle(logits, 2), -6, 3))


def _level(values: Tensor, weight: Tensor, before: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return _curve(values), weight / (1 + weight), _curve(before)
