"""Sentences about a person: from labels by templates, and a question of several phrases into its phrases.

MP-ReID, AAAI 2024, section "Multi-Prompts Generation Learning": several written prompts, and one that is learned
(`Words` holds it as vectors before the phrase), are an ensemble.
"""

from __future__ import annotations

import re

from models.reid.attributes import LABELS, LOWER_COLOURS, UPPER_COLOURS

__all__ = ["LONGEST_QUESTION", "SAYINGS", "TEMPLATES", "phrases_of"]

TEMPLATES = ("{}", "a photo of a person: {}", "the pedestrian has {}", "someone in the street, {}")
LONGEST_QUESTION = 300
"""Characters of a question that are read: a dozen phrases."""

_OTHER_SAYINGS: dict[str, tuple[str, ...]] = {
    "man": ("man", "a male", "a guy", "a gentleman"),
    "woman": ("woman", "a female", "a lady", "a girl"),
    "child": ("a child", "a kid", "a little boy", "a little girl"),
    "teenager": ("teenager", "a young person", "a student", "young"),
    "adult": ("adult", "a grown-up", "a middle-aged person"),
    "old": ("old", "an elderly person", "a senior", "an old man"),
    "short hair": ("short haired", "short cut hair"),
    "long hair": ("long haired", "a ponytail", "hair down to the shoulders"),
    "no hat": ("bareheaded", "without a hat", "nothing on the head"),
    "hat": ("hat", "a cap", "a baseball cap", "headwear"),
    "long sleeves": ("long-sleeved top", "a jacket", "a coat"),
    "short sleeves": ("short-sleeved top", "a t-shirt", "sleeveless"),
    "no backpack": ("without a backpack", "no rucksack"),
    "backpack": ("backpack", "a rucksack", "a school bag on the back"),
    "no bag": ("without a bag", "carrying no bag"),
    "bag": ("bag", "a shoulder bag", "a messenger bag"),
    "no handbag": ("without a handbag", "no purse"),
    "handbag": ("handbag", "a purse", "a bag in the hand"),
    "long lower": ("trousers down to the feet", "long pants", "a long skirt"),
    "short lower": ("short trousers", "short pants", "bare legs", "a short skirt"),
    "dress": ("a dress", "a skirt", "skirt"),
    "pants": ("pants", "jeans", "wearing trousers"),
    "other top": ("a colourful shirt", "a patterned top", "an orange top"),
    "other bottom": ("colourful pants", "patterned trousers", "red trousers"),
}
_TOPS = ("{} top", "a {} shirt", "a {} t-shirt", "{} upper clothes", "a {} jacket")
_BOTTOMS = ("{} pants", "{} shorts", "a {} skirt", "{} jeans", "{} lower clothes")


def _sayings() -> tuple[tuple[str, ...], ...]:
    said = dict(_OTHER_SAYINGS)
    said |= {f"{one} top": tuple(form.format(one) for form in _TOPS) for one in UPPER_COLOURS}
    said |= {f"{one} bottom": tuple(form.format(one) for form in _BOTTOMS) for one in LOWER_COLOURS}
    return tuple((label.phrase, *said[label.name]) for label in LABELS)


SAYINGS = _sayings()
"""For each label what people say for it, its own phrase first."""

_LACKS = re.compile(r"\b(?:without|has no|having no)(?:\s+(?:a|an|any)\b)?\s+")
_BETWEEN = re.compile(
    r"[,;.:!?/]|\b(?:and|with|in|wearing|wears|carrying|carries|holding|holds|who|that|has|having|is)\b"
)


def phrases_of(question: str) -> list[str]:
    """The phrases of "a woman in a red top, with a backpack": what stands between commas and words that join."""
    plain = _LACKS.sub(", no ", " ".join(question.lower().split())[:LONGEST_QUESTION])
    return list(dict.fromkeys(phrase for part in _BETWEEN.split(plain) if (phrase := part.strip())))
