"""The CLIP prompts of CLIMS: one per class, and one per noun of co-occurring background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wsss_bench.vocabulary import load, read

PERSON_WORDS = {
    "baby", "boy", "child", "children", "girl", "man", "men", "officer", "people", "person", "player",
    "woman", "women",
}  # fmt: skip
"""Words that count as a `person`."""


@dataclass(frozen=True)
class Prompts:
    """Prompts of a data set, given as words and a template.

    Args:
        template: A sentence in which `{}` stands for the word.
        classes: One word per class, in label order.
        background: Nouns of co-occurring background: one list shared by all classes, or lists by class name.
    """

    template: str
    classes: list[str]
    background: list[str] | dict[str, list[str]]

    def __post_init__(self) -> None:
        if "{}" not in self.template:
            raise ValueError(f"prompts.template {self.template!r} has no {{}} for the word; add it")
        if not self.background:
            raise ValueError("prompts.background is empty; name at least one noun of co-occurring background")

    @property
    def background_words(self) -> list[str]:
        """All background nouns without duplicates, in the order written."""
        if isinstance(self.background, list):
            return list(dict.fromkeys(self.background))
        return list(dict.fromkeys(noun for nouns in self.background.values() for noun in nouns))

    @property
    def class_prompts(self) -> list[str]:
        """One prompt per class, in label order."""
        return [self.template.format(word) for word in self.classes]

    @property
    def background_prompts(self) -> list[str]:
        """One prompt per noun of `background_words`."""
        return [self.template.format(noun) for noun in self.background_words]


def clims_prompts(prompts: Prompts | str, class_names: Sequence[str]) -> Prompts:
    """The prompts of a config, checked against the classes of the data.

    Args:
        prompts: Name of a set in `prompts.yaml`, or the prompts themselves.
        class_names: Foreground classes of the data source, in label order.

    Raises:
        ValueError: the set does not exist or is for other classes, the number of class words differs from the
            number of classes, or background nouns are given for a class that does not exist.
    """
    if isinstance(prompts, str):
        prompts = _named(prompts, class_names)
    if len(prompts.classes) != len(class_names):
        raise ValueError(
            f"prompts.classes has {len(prompts.classes)} words ({', '.join(prompts.classes)}), the data "
            f"source has {len(class_names)} classes ({', '.join(class_names)}); give one word per class, in "
            "this order"
        )
    if isinstance(prompts.background, dict) and (unknown := set(prompts.background) - set(class_names)):
        raise ValueError(
            f"prompts.background names {', '.join(sorted(unknown))}, which the data source does not have; "
            f"its classes are {', '.join(class_names)}"
        )
    return prompts


def background_nouns_naming_a_class(prompts: Prompts, class_names: Sequence[str]) -> list[tuple[str, str]]:
    """Background nouns that name a class, as `(noun, class)`: suppressing them suppresses the class.

    A noun names a class in three cases: (1) it equals the class name or the class word, ignoring case,
    spaces, hyphens and plural; (2) both end in the same word, the head of the phrase (`bat` and `baseball
    bat`); (3) both end in a word for people (`baseball player` and `person`). Other relations of meaning
    (`animal`, `computer monitor`) are not detected.
    """
    found = []
    for noun in prompts.background_words:
        for name, word in zip(class_names, prompts.classes, strict=True):
            if any(_names_class(noun, other) for other in (name, word)):
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
    expected = load(content.pop("vocabulary"))
    if tuple(class_names) != expected:
        raise ValueError(
            f"prompts {name!r} are for the {len(expected)} classes {', '.join(expected)}; the data "
            f"source has {len(class_names)} ({', '.join(class_names)}). Set model.init_args.prompts to a set "
            "of these classes"
        )
    return Prompts(**content)


def _names_class(noun: str, name: str) -> bool:
    noun_head, name_head = noun.lower().split()[-1], name.lower().split()[-1]
    same_phrase = _singular_forms(noun) & _singular_forms(name)
    same_head = _singular_forms(noun_head) & _singular_forms(name_head)
    return bool(same_phrase or same_head) or {noun_head, name_head} <= PERSON_WORDS


def _singular_forms(phrase: str) -> set[str]:
    """The phrase in lower case without spaces and hyphens, and its possible singulars."""
    word = phrase.lower().replace(" ", "").replace("-", "")
    endings = {"s": "", "es": "", "ies": "y"}
    return {word} | {word.removesuffix(end) + new for end, new in endings.items() if word.endswith(end)}
