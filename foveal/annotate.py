"""Drawing of results on frames: boxes, track and gallery identity, expression bars, frames without a result."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from streams.messages import ExpressionsResult, Face, PeopleResult, Person

__all__ = ["annotate", "caption", "contact_sheet", "side_by_side"]

Image = NDArray[np.uint8]
FONT = cv2.FONT_HERSHEY_SIMPLEX
# Okabe and Ito's palette, legible to the colour-blind, as BGR.
KNOWN, UNKNOWN, UNAVAILABLE, FACE = (115, 158, 0), (0, 159, 230), (167, 121, 204), (233, 180, 86)
TRACKS = ((115, 158, 0), (178, 114, 0), (0, 94, 213), (167, 121, 204), (66, 228, 240), (233, 180, 86), (0, 159, 230))
MIN_SHORT_SIDE = 480
BAR_HEIGHT = 24


def annotate(
    image_bgr: Image, people: PeopleResult | None, expressions: ExpressionsResult | None, *, title: str, note: str = ""
) -> Image:
    """Draw one frame's results on a copy, enlarged when the frame is small, so that text can be read.

    Shapes: image uint8 [H, W, 3] BGR -> uint8 [sH, sW, 3] BGR, both sides even, as video encoders want it.
    """
    height, width = image_bgr.shape[:2]
    scale = max(1, -(-MIN_SHORT_SIDE // min(height, width)))
    out_wh = (width * scale // 2 * 2, height * scale // 2 * 2)
    canvas: Image = np.asarray(cv2.resize(image_bgr, out_wh, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    for person in people.people if people else ():
        _draw_person(canvas, person, scale)
    for face in expressions.faces if expressions else ():
        _draw_face(canvas, face, scale)
    caption(canvas, title, note)
    return canvas


def caption(canvas: Image, title: str, note: str = "") -> None:
    """Write a title bar over the top of the picture, in place; `note` stands at its right end."""
    bar = canvas[:BAR_HEIGHT]
    bar[:] = (bar * 0.35).astype(np.uint8)
    cv2.putText(canvas, title, (8, 17), FONT, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    if note:
        width = cv2.getTextSize(note, FONT, 0.5, 1)[0][0]
        cv2.putText(canvas, note, (canvas.shape[1] - width - 8, 17), FONT, 0.5, (120, 220, 255), 1, cv2.LINE_AA)


def side_by_side(pictures: Mapping[str, Image]) -> Image:
    """Put pictures of one size beside each other, each under its name; sides are made even."""
    panels = []
    for name, picture in pictures.items():
        panel = picture.copy()
        caption(panel, name)
        panels.append(panel)
    row = np.hstack(panels)
    return row[: row.shape[0] // 2 * 2, : row.shape[1] // 2 * 2]


def contact_sheet(pictures: list[Image], *, columns: int, tile_wh: tuple[int, int]) -> Image:
    """Tile pictures of any size, fitted and centred, into one sheet, row by row."""
    tile_w, tile_h = tile_wh
    tiles = []
    for picture in pictures:
        ratio = min(tile_w / picture.shape[1], tile_h / picture.shape[0])
        size = (max(1, int(picture.shape[1] * ratio)), max(1, int(picture.shape[0] * ratio)))
        fitted = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        tile = np.full((tile_h, tile_w, 3), 24, np.uint8)
        top, left = (tile_h - size[1]) // 2, (tile_w - size[0]) // 2
        tile[top : top + size[1], left : left + size[0]] = fitted
        tiles.append(tile)
    while len(tiles) % columns:
        tiles.append(np.full((tile_h, tile_w, 3), 24, np.uint8))
    return np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])


def _draw_person(canvas: Image, person: Person, scale: int) -> None:
    x1, y1, x2, y2 = (round(v * scale) for v in person.box_xyxy)
    track = "" if person.track_id is None else f"#{person.track_id} "
    identity = person.identity
    if identity.status == "known":
        label, colour = f"{track}{identity.name or identity.identity_id} {identity.score or 0:.2f}", KNOWN
    elif identity.status == "unavailable":
        label, colour = f"{track}gallery unavailable", UNAVAILABLE
    else:
        # Of a provisional identity's id the end, by which it can be told from others in the picture.
        which = f"unknown {identity.provisional[-4:]}" if identity.provisional else "unknown"
        label = f"{track}{which}" if identity.status == "unknown" else f"{track}person {person.score:.2f}"
        colour = UNKNOWN if person.track_id is None else TRACKS[person.track_id % len(TRACKS)]
    cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, 2, cv2.LINE_AA)
    _label(canvas, label, x1, y1, colour)


def _draw_face(canvas: Image, face: Face, scale: int) -> None:
    x1, y1, x2, y2 = (round(v * scale) for v in face.box_xyxy)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), FACE, 1, cv2.LINE_AA)
    for x, y in face.landmarks_xy or ():
        cv2.circle(canvas, (round(x * scale), round(y * scale)), 2, FACE, -1, cv2.LINE_AA)
    shown = face.shown
    if shown is None:
        _label(canvas, face.unreadable or "unreadable", x1, y2 + 16, FACE)
        return
    left, top, bar, row = min(x2 + 6, max(0, canvas.shape[1] - 150)), max(BAR_HEIGHT + 2, y1), 60, 14
    panel = canvas[top : top + row * 8 + 4, left : left + 150]
    panel[:] = (panel * 0.4).astype(np.uint8)
    for index, (name, probability) in enumerate(shown.probabilities.items()):
        y = top + row * index
        strongest = name == shown.label
        colour = (120, 220, 255) if strongest else (200, 200, 200)
        cv2.putText(canvas, name, (left + 3, y + 11), FONT, 0.38, colour, 1, cv2.LINE_AA)
        cv2.rectangle(canvas, (left + 70, y + 4), (left + 70 + round(bar * probability), y + 11), colour, -1)
    text = f"uncertainty {shown.uncertainty:.2f}"
    cv2.putText(canvas, text, (left + 3, top + row * 7 + 11), FONT, 0.38, (200, 200, 200), 1, cv2.LINE_AA)


def _label(canvas: Image, text: str, x: int, y: int, colour: tuple[int, int, int]) -> None:
    (width, height), _ = cv2.getTextSize(text, FONT, 0.42, 1)
    x, y = max(0, min(x, canvas.shape[1] - width - 4)), max(BAR_HEIGHT + height + 6, y)
    cv2.rectangle(canvas, (x, y - height - 5), (x + width + 4, y), colour, -1)
    cv2.putText(canvas, text, (x + 2, y - 4), FONT, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
