"""Every network that ships is whole and computes."""

from __future__ import annotations

import pytest

from models.catalogue import CATALOGUE
from models.reports import describe, verify


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_a_shipped_network_is_whole_and_answers_as_its_spec_says(name: str) -> None:
    spec = CATALOGUE[name]
    assert describe(spec)["state"] == "whole"
    assert verify(spec)["error"] is None
