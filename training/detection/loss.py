"""Task-aligned assignment (Feng et al., TOOD, ICCV 2021, section 3.2) and the loss: BCE, CIoU, landmark distance."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from models.detection.network import CLASSES, STRIDES

__all__ = ["BOX_WEIGHT", "DetectionLoss", "ciou", "decode"]

TOP_K = 10
ALPHA, BETA = 0.5, 6.0
BOX_WEIGHT, LANDMARK_WEIGHT = 5.0, 1.5


def decode(points: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """What the points [N, A, 16] say, in pixels of the input.

    -> logits [N, A, 2], boxes xyxy [N, A, 4], landmarks [N, A, 5, 2], centres [A, 2], strides [A].
    """
    centres, strides = _grid(size, points.device)
    logits, distances, marks = points.split((CLASSES, 4, 10), 2)
    scaled = distances * strides[:, None]
    boxes = torch.cat((centres - scaled[..., :2], centres + scaled[..., 2:]), 2)
    landmarks = marks.unflatten(2, (5, 2)) * strides[:, None, None] + centres[:, None]
    return logits, boxes, landmarks, centres, strides


class DetectionLoss:
    """Loss of a batch; targets are padded lists: boxes [N, M, 4], classes [N, M], landmarks [N, M, 5, 2] (NaN unknown),
    state [N, M] (1 an object, 0 neither object nor background, -1 padding)."""

    def __call__(
        self, points: Tensor, size: int, boxes: Tensor, classes: Tensor, landmarks: Tensor, state: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        logits, found, marks, centres, _ = decode(points, size)
        with torch.no_grad():
            target, score = self._assign(logits, found, centres, boxes, classes, state)
            ignored = self._ignored(centres, boxes, classes, state, logits.shape[2])
        soft = torch.zeros_like(logits)
        positive = target >= 0
        image, point = positive.nonzero(as_tuple=True)
        owner = target[image, point]
        soft[image, point, classes[image, owner]] = score[image, point]
        judged = (~ignored | (soft > 0)).float()
        probability = logits.sigmoid()
        # Quality focal weighting: easy background counts little (Li et al., NeurIPS 2020, section 3.2).
        focal = (probability - soft).abs().pow(2).detach()
        total = score.sum().clamp(min=1.0)
        class_loss = (
            F.binary_cross_entropy_with_logits(logits, soft, reduction="none") * judged * (focal * 2)
        ).sum() / total
        if not len(image):
            return class_loss, {"class": class_loss.item(), "box": 0.0, "landmark": 0.0}
        importance = score[image, point]
        box_loss = ((1 - ciou(found[image, point], boxes[image, owner])) * importance).sum() / total
        wanted = landmarks[image, owner]
        known = wanted.isfinite().all(-1).all(-1)
        sides = (boxes[image, owner][:, 2:] - boxes[image, owner][:, :2]).prod(1).sqrt().clamp(min=4.0)
        distance = ((marks[image, point] - wanted.nan_to_num()).abs().sum(-1).mean(-1) / sides)[known]
        mark_loss = (
            F.smooth_l1_loss(distance, torch.zeros_like(distance), beta=0.05, reduction="none") * importance[known]
        ).sum()
        mark_loss = mark_loss / importance[known].sum().clamp(min=1.0)
        loss = class_loss + BOX_WEIGHT * box_loss + LANDMARK_WEIGHT * mark_loss
        return loss, {"class": class_loss.item(), "box": box_loss.item(), "landmark": mark_loss.item()}

    def _assign(
        self, logits: Tensor, found: Tensor, centres: Tensor, boxes: Tensor, classes: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Which object each point stands for (-1 none), and its soft score."""
        iou = _iou(boxes, found)  # [N, M, A]
        score = logits.sigmoid().gather(2, classes.unsqueeze(1).expand(-1, logits.shape[1], -1)).transpose(1, 2)
        offsets = torch.cat(
            (centres[None, None] - boxes[:, :, None, :2], boxes[:, :, None, 2:] - centres[None, None]), 3
        )
        inside = offsets.amin(3) > 0
        # A tiny box may hold no point's centre: its nearest points are taken then.
        middle = (boxes[..., :2] + boxes[..., 2:]) / 2
        nearest = (centres[None, None] - middle[:, :, None]).abs().amax(3)
        none_inside = ~inside.any(2, keepdim=True)
        inside = inside | (none_inside & (nearest <= nearest.amin(2, keepdim=True) + 1e-3))
        allowed = inside & (state == 1).unsqueeze(2)
        metric = (score.pow(ALPHA) * (iou + 1e-4).pow(BETA)) * allowed
        # At the start no box fits: closeness to the middle breaks ties.
        metric = metric + allowed * 1e-12 / (1 + nearest)
        top = metric.topk(TOP_K, 2)
        chosen = torch.zeros_like(allowed).scatter(2, top.indices, top.values > 0) & allowed
        contested = chosen.sum(1) > 1
        best = (iou * chosen).argmax(1)
        only_best = F.one_hot(best, boxes.shape[1]).transpose(1, 2).bool()
        chosen = torch.where(contested.unsqueeze(1), chosen & only_best, chosen)
        metric, iou = metric * chosen, iou * chosen
        soft = metric / metric.amax(2, keepdim=True).clamp(min=1e-12) * iou.amax(2, keepdim=True)
        target = torch.where(chosen.any(1), chosen.float().argmax(1), torch.full_like(best, -1))
        return target, soft.amax(1)

    def _ignored(self, centres: Tensor, boxes: Tensor, classes: Tensor, state: Tensor, count: int) -> Tensor:
        offsets = torch.cat(
            (centres[None, None] - boxes[:, :, None, :2], boxes[:, :, None, 2:] - centres[None, None]), 3
        )
        inside = (offsets.amin(3) > 0) & (state == 0).unsqueeze(2)
        return torch.stack([(inside & (classes == one).unsqueeze(2)).any(1) for one in range(count)], 2)


def _grid(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    centres, strides = [], []
    for stride in STRIDES:
        at = (torch.arange(size // stride, device=device) + 0.5) * stride
        rows, columns = torch.meshgrid(at, at, indexing="ij")
        centres.append(torch.stack((columns, rows), -1).reshape(-1, 2))
        strides.append(torch.full((len(at) ** 2,), float(stride), device=device))
    return torch.cat(centres), torch.cat(strides)


def _iou(a: Tensor, b: Tensor) -> Tensor:
    """[N, M, 4], [N, A, 4] -> [N, M, A]."""
    low = torch.maximum(a[:, :, None, :2], b[:, None, :, :2])
    high = torch.minimum(a[:, :, None, 2:], b[:, None, :, 2:])
    shared = (high - low).clamp(min=0).prod(3)
    areas = (a[..., 2:] - a[..., :2]).clamp(min=0).prod(2)[:, :, None] + (b[..., 2:] - b[..., :2]).clamp(min=0).prod(2)[
        :, None
    ]
    return shared / (areas - shared).clamp(min=1e-6)


def ciou(a: Tensor, b: Tensor) -> Tensor:
    """Complete IoU of pairs (Zheng et al., AAAI 2020): [K, 4], [K, 4] -> [K]."""
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    size_a, size_b = (a[:, 2:] - a[:, :2]).clamp(min=1e-3), (b[:, 2:] - b[:, :2]).clamp(min=1e-3)
    iou = shared / (size_a.prod(1) + size_b.prod(1) - shared).clamp(min=1e-6)
    hull = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    apart = ((a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) / 2).pow(2).sum(1) / hull.pow(2).sum(1).clamp(min=1e-6)
    shape = 4 / math.pi**2 * (torch.atan(size_b[:, 0] / size_b[:, 1]) - torch.atan(size_a[:, 0] / size_a[:, 1])).pow(2)
    with torch.no_grad():
        trade = shape / (1 - iou + shape + 1e-6)
    return iou - apart - trade * shape
