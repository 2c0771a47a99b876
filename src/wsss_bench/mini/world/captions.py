"""Sentences about a scene: varied phrases, synonyms, some of them incomplete."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from wsss_bench.mini.world.grammar import CLASS_NAMES

SYNONYMS: dict[str, str] = {
    "aeroplane": "plane", "bird": "gull", "boat": "ship", "bus": "coach", "car": "automobile",
    "cow": "cattle", "sheep": "lamb", "train": "locomotive",
    "sky": "air", "water": "sea", "railway": "rails", "grass": "meadow", "road": "street", "sand": "beach",
}  # fmt: skip
PLURALS = {"bus": "buses", "sheep": "sheep", "cattle": "cattle", "coach": "coaches"}
TEMPLATES = (
    "a photo of {}", "a picture of {}", "an image of {}", "{}",
    "there is {}", "a good photo of {}", "this is {}",
)  # fmt: skip
SYNONYM_SHARE = 0.15
INCOMPLETE_MATERIAL, INCOMPLETE_OBJECTS, INCOMPLETE_GROUP = 0.3, 0.15, 0.3


def describe(labels: Sequence[int], material: str | None, rng: np.random.Generator) -> str:
    """One sentence.

    Args:
        labels: Class index of every instance; a class met several times gets a plural.
        material: Name of the background, or None where there is nothing to name.
        rng: Source of the choice of words.
    """
    counts = Counter(CLASS_NAMES[label] for label in labels)
    names = [str(name) for name in rng.permutation(sorted(counts))]
    dropped = rng.random(3)
    if names and material is not None:  # alone, either must stay
        if dropped[0] < INCOMPLETE_MATERIAL:
            material = None
        elif dropped[1] < INCOMPLETE_OBJECTS:
            names = []
    if len(names) > 1 and dropped[2] < INCOMPLETE_GROUP:
        names = names[:1]
    phrase = " and ".join(_noun(name, counts[name] > 1, rng) for name in names)
    if material is not None:
        place = _synonym(material, rng)
        joint = str(rng.choice(["on", "on the", "in front of the", "near the", "and"]))
        phrase = f"{phrase} {joint} {place}" if phrase else place
    if not phrase:
        phrase = "an empty scene"
    sentence = str(rng.choice(TEMPLATES)).format(phrase)
    return sentence + "." if rng.random() < 0.5 else sentence


def vocabulary() -> list[str]:
    """Every word a caption can contain, sorted."""
    joints = "on in front of near and a an some the two empty scene . ,"
    nouns = [*SYNONYMS, *SYNONYMS.values()]
    text = " ".join([joints, *TEMPLATES, *nouns, *map(plural, nouns)])
    return sorted(set(text.replace("{}", " ").split()))


def _noun(name: str, several: bool, rng: np.random.Generator) -> str:
    word = _synonym(name, rng)
    if several:
        return f"some {plural(word)}"
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def plural(word: str) -> str:
    """Several of it; words without a plural of their own stay as they are."""
    return PLURALS.get(word, word + "s")


def _synonym(name: str, rng: np.random.Generator) -> str:
    return SYNONYMS[name] if rng.random() < SYNONYM_SHARE else name
