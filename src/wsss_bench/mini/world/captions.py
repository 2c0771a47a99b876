"""Captions of a scene, with varied phrases and synonyms. Some do not name everything that is visible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from wsss_bench.mini.world.scenes import CLASS_NAMES

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
SYNONYM_PROBABILITY = 0.15
# Probabilities that a caption leaves out the material, or else all objects; and all classes but one.
OMIT_MATERIAL, OMIT_OBJECTS, OMIT_OTHER_CLASSES = 0.3, 0.15, 0.3


def describe(labels: Sequence[int], material: str | None, rng: np.random.Generator) -> str:
    """One caption.

    Args:
        labels: Class index of every instance; a class that occurs several times is named in the plural.
        material: Name of the background material, or None if it must not be named.
        rng: Source of the choice of words.
    """
    counts = Counter(CLASS_NAMES[label] for label in labels)
    names = [str(name) for name in rng.permutation(sorted(counts))]
    omitted = rng.random(3)
    if names and material is not None:  # if there is only one of the two, it is named
        if omitted[0] < OMIT_MATERIAL:
            material = None
        elif omitted[1] < OMIT_OBJECTS:
            names = []
    if len(names) > 1 and omitted[2] < OMIT_OTHER_CLASSES:
        names = names[:1]
    phrase = " and ".join(_noun(name, counts[name] > 1, rng) for name in names)
    if material is not None:
        place = _synonym(material, rng)
        preposition = str(rng.choice(["on", "on the", "in front of the", "near the", "and"]))
        phrase = f"{phrase} {preposition} {place}" if phrase else place
    if not phrase:
        phrase = "an empty scene"
    sentence = str(rng.choice(TEMPLATES)).format(phrase)
    return sentence + "." if rng.random() < 0.5 else sentence


def vocabulary() -> list[str]:
    """Every word a caption can contain, sorted."""
    function_words = "on in front of near and a an some the two empty scene . ,"
    nouns = [*SYNONYMS, *SYNONYMS.values()]
    text = " ".join([function_words, *TEMPLATES, *nouns, *map(plural, nouns)])
    return sorted(set(text.replace("{}", " ").split()))


def _noun(name: str, several: bool, rng: np.random.Generator) -> str:
    """A class name or its synonym, with "some" and plural or with the indefinite article."""
    word = _synonym(name, rng)
    if several:
        return f"some {plural(word)}"
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def plural(word: str) -> str:
    """Plural of a noun."""
    return PLURALS.get(word, word + "s")


def _synonym(name: str, rng: np.random.Generator) -> str:
    return SYNONYMS[name] if rng.random() < SYNONYM_PROBABILITY else name
