"""What CLIMS says to CLIP: one sentence for each class, and sentences for the scenery that comes with the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wsss_bench.vocabulary import load, read

PEOPLE = {
    "baby", "boy", "child", "children", "girl", "man", "men", "officer", "people", "person", "player", "woman", "women",
}  # fmt: skip
"""Words for a `person`."""


@dataclass(frozen=True)
class Prompts:
    """Sentences of a data set, as words and a template.

    Args:
        template: A sentence; `{}` stands for a word.
        classes: One word per class, in label order.
        background: Nouns of scenery: a list that all classes share, or lists by class name.
    """

    template: str
    classes: list[str]
    background: list[str] | dict[str, list[str]]

    def __post_init__(self) -> None:
        if "{}" not in self.template:
            raise ValueError(f"prompts.template {self.template!r} has no {{}} for the word; add it")
        if not self.background:
            raise ValueError("prompts.background is empty; name at least one noun of scenery")

    @property
    def background_words(self) -> list[str]:
        """All background nouns, each once, in the order written."""
        if isinstance(self.background, list):
            return list(dict.fromkeys(self.background))
        return list(dict.fromkeys(noun for nouns in self.background.values() for noun in nouns))

    @property
    def class_sentences(self) -> list[str]:
        return [self.template.format(word) for word in self.classes]

    @property
    def background_sentences(self) -> list[str]:
        """One per noun of `background_words`."""
        return [self.template.format(noun) for noun in self.background_words]


def clims_prompts(prompts: Prompts | str, class_names: Sequence[str]) -> Prompts:
    """The prompts of a config, checked against the classes of the data.

    Args:
        prompts: Name of a set in `prompts.yaml`, or the prompts themselves.
        class_names: Foreground classes of the data source, in label order.

    Raises:
        ValueError: no such set, a set of other classes, another number of words than classes, or background nouns of a
            class that does not exist.
    """
    if isinstance(prompts, str):
        prompts = _named(prompts, class_names)
    if len(prompts.classes) != len(class_names):
        raise ValueError(
            f"prompts.classes has {len(prompts.classes)} words ({', '.join(prompts.classes)}), the data source has "
            f"{len(class_names)} classes ({', '.join(class_names)}); give one word per class, in this order"
        )
    if isinstance(prompts.background, dict) and (unknown := set(prompts.background) - set(class_names)):
        raise ValueError(
            f"prompts.background names {', '.join(sorted(unknown))}, which the data source does not have; its classes are "
            f"{', '.join(class_names)}"
        )
    return prompts


def suspicious_background(prompts: Prompts, class_names: Sequence[str]) -> list[tuple[str, str]]:
    """Background nouns that say a class, as `(noun, class)`: suppressing them suppresses the class.

    A noun says a class if it equals the class's name or word in lower case, without spaces and hyphens, in singular or
    plural; if both end in the same word, which is what a phrase is about (`bat` and `baseball bat`); or if both end in
    a word for people (`baseball player` and `person`). Meaning beyond that (`animal`, `computer monitor`) is not seen.
    """
    found = []
    for noun in prompts.background_words:
        for name, word in zip(class_names, prompts.classes, strict=True):
            if any(_says(noun, other) for other in (name, word)):
                found.append((noun, name))
                break
    return found


def _named(name: str, class_names: Sequence[str]) -> Prompts:
    sets = read("prompts", __package__)
    if name not in sets:
        raise ValueError(
            f"no prompts {name!r}; known: {', '.join(sets)}. Or give template, classes and background"
        )
    content = dict(sets[name])
    expected = load(content.pop("of"))
    if tuple(class_names) != expected:
        raise ValueError(
            f"prompts {name!r} are for the {len(expected)} classes {', '.join(expected)}; the data source has "
            f"{len(class_names)} ({', '.join(class_names)}). Set model.init_args.prompts to a set of these classes"
        )
    return Prompts(**content)


def _says(noun: str, name: str) -> bool:
    subject, other = noun.lower().split()[-1], name.lower().split()[-1]
    return bool(_forms(noun) & _forms(name) or _forms(subject) & _forms(other)) or {subject, other} <= PEOPLE


def _forms(phrase: str) -> set[str]:
    """The phrase in lower case and one word, and what may be its singular."""
    word = phrase.lower().replace(" ", "").replace("-", "")
    endings = {"s": "", "es": "", "ies": "y"}
    return {word} | {word.removesuffix(end) + new for end, new in endings.items() if word.endswith(end)}
