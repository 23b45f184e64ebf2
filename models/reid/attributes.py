"""What words say of a person here: the 27 attributes of Lin et al. as 32 labels in 12 groups.

Lin et al., Pattern Recognition 2019, section 3 (attributes of Market-1501). A group has one label that holds; colours
that the data does not name are the label `other`.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GROUPS", "LABELS", "LOWER_COLOURS", "UPPER_COLOURS", "Group", "Label"]


@dataclass(frozen=True, slots=True)
class Label:
    """One label: its short name, and the phrase that a person would say."""

    name: str
    phrase: str


@dataclass(frozen=True, slots=True)
class Group:
    """Labels of which exactly one holds. `part` is the stretch of the body that shows it."""

    name: str
    labels: tuple[Label, ...]
    part: str


UPPER_COLOURS = ("black", "blue", "green", "gray", "purple", "red", "white", "yellow")
LOWER_COLOURS = ("black", "blue", "brown", "gray", "green", "pink", "purple", "white", "yellow")

GROUPS: tuple[Group, ...] = (
    Group("gender", (Label("man", "a man"), Label("woman", "a woman")), "whole"),
    Group(
        "age",
        (
            Label("child", "a young child"),
            Label("teenager", "a teenager"),
            Label("adult", "an adult"),
            Label("old", "an old person"),
        ),
        "whole",
    ),
    Group("hair", (Label("short hair", "short hair"), Label("long hair", "long hair")), "head"),
    Group("hat", (Label("no hat", "no hat"), Label("hat", "a hat")), "head"),
    Group("sleeves", (Label("long sleeves", "long sleeves"), Label("short sleeves", "short sleeves")), "torso"),
    Group("backpack", (Label("no backpack", "no backpack"), Label("backpack", "a backpack")), "torso"),
    Group("bag", (Label("no bag", "no bag"), Label("bag", "a bag")), "torso"),
    Group("handbag", (Label("no handbag", "no handbag"), Label("handbag", "a handbag")), "torso"),
    Group("length", (Label("long lower", "long trousers"), Label("short lower", "shorts")), "legs"),
    Group("lower", (Label("dress", "a dress or skirt"), Label("pants", "trousers")), "legs"),
    Group(
        "upper colour",
        (*(Label(f"{one} top", f"a {one} top") for one in UPPER_COLOURS), Label("other top", "a top of many colours")),
        "torso",
    ),
    Group(
        "lower colour",
        (
            *(Label(f"{one} bottom", f"{one} trousers") for one in LOWER_COLOURS),
            Label("other bottom", "trousers of many colours"),
        ),
        "legs",
    ),
)
LABELS: tuple[Label, ...] = tuple(label for group in GROUPS for label in group.labels)
"""All labels, group by group: the order of every array of probabilities."""
