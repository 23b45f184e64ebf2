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
BOX_WEIGHT, LANDMARK_WEIGHT = 5.0, 3.0


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
        """Which object each point stands for (-1 none), and its soft score: [N, A] each.

        The objects of all pictures stand in one row of K, since padded lists would be mostly padding.
        """
        image, slot = (state == 1).nonzero(as_tuple=True)
        boxes, kinds = boxes[image, slot], classes[image, slot]
        iou = _iou(boxes, found[image])  # [K, A]
        score = logits.sigmoid().transpose(1, 2)[image, kinds]
        inside = _inside(centres, boxes)
        # A tiny box may hold no point's centre: its nearest points are taken then.
        nearest = (centres - (boxes[:, None, :2] + boxes[:, None, 2:]) / 2).abs().amax(2)
        allowed = inside | (~inside.any(1, keepdim=True) & (nearest <= nearest.amin(1, keepdim=True) + 1e-3))
        metric = (score.pow(ALPHA) * (iou + 1e-4).pow(BETA)) * allowed
        # At the start no box fits: closeness to the middle breaks ties.
        metric = metric + allowed * 1e-12 / (1 + nearest)
        top = metric.topk(TOP_K, 1)
        chosen = torch.zeros_like(allowed).scatter(1, top.indices, top.values > 0) & allowed
        # A point that several objects chose is the best one's.
        fit = torch.where(chosen, iou, -1.0)
        rows = image[:, None].expand_as(fit)
        best = torch.full_like(logits[..., 0], -1.0).scatter_reduce(0, rows, fit, "amax")
        owner = torch.full_like(best, -1, dtype=torch.long)
        number, point = (chosen & (fit >= best[image])).nonzero(as_tuple=True)
        owner[image[number], point] = number
        metric = metric * (owner[image] == torch.arange(len(image))[:, None])
        iou = iou * (metric > 0)
        soft = metric / metric.amax(1, keepdim=True).clamp(min=1e-12) * iou.amax(1, keepdim=True)
        target, given = torch.full_like(owner, -1), torch.zeros_like(best)
        picture, point = (owner >= 0).nonzero(as_tuple=True)
        number = owner[picture, point]
        target[picture, point], given[picture, point] = slot[number], soft[number, point]
        return target, given

    def _ignored(self, centres: Tensor, boxes: Tensor, classes: Tensor, state: Tensor, count: int) -> Tensor:
        """Where a point lies in what is neither an object nor background: [N, A, count]."""
        image, slot = (state == 0).nonzero(as_tuple=True)
        inside = torch.zeros(len(boxes), count, len(centres), dtype=torch.int64)
        inside.index_put_((image, classes[image, slot]), _inside(centres, boxes[image, slot]).long(), accumulate=True)
        return (inside > 0).transpose(1, 2)


def _inside(centres: Tensor, boxes: Tensor) -> Tensor:
    """[A, 2], [K, 4] -> [K, A]."""
    return torch.cat((centres - boxes[:, None, :2], boxes[:, None, 2:] - centres), 2).amin(2) > 0


def _grid(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    centres, strides = [], []
    for stride in STRIDES:
        at = (torch.arange(size // stride, device=device) + 0.5) * stride
        rows, columns = torch.meshgrid(at, at, indexing="ij")
        centres.append(torch.stack((columns, rows), -1).reshape(-1, 2))
        strides.append(torch.full((len(at) ** 2,), float(stride), device=device))
    return torch.cat(centres), torch.cat(strides)


def _iou(boxes: Tensor, found: Tensor) -> Tensor:
    """Each of [K, 4] with its own [K, A, 4] -> [K, A]."""
    boxes = boxes[:, None]
    sides = torch.minimum(boxes[..., 2:], found[..., 2:]) - torch.maximum(boxes[..., :2], found[..., :2])
    shared = sides.clamp(min=0).prod(2)
    areas = [(some[..., 2:] - some[..., :2]).clamp(min=0).prod(2) for some in (boxes, found)]
    return shared / (areas[0] + areas[1] - shared).clamp(min=1e-6)


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
