"""The committed G-buffer sequence, for machines without a renderer: how it was made stands in its folder's README."""

from __future__ import annotations

from pathlib import Path

from models.ssr.sequence_file import SequenceFileError, load_sequence

__all__ = ["DEMO_SEQUENCE", "SequenceFileError", "load_sequence"]

DEMO_SEQUENCE = Path(__file__).parent / "assets" / "gbuffers" / "room"
"""48 frames of 320x180 at 1/4 sample a pixel, 24 a second, each with its reference; `load_sequence(DEMO_SEQUENCE)`."""
