"""Several names for a class, and words for the background, as dense readings of CLIP say them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from wsss_bench.vocabulary import load, read

PUBLISHED: Literal["published"] = "published"
"""Names and background words of `synonyms.yaml` for the vocabulary that has exactly these classes."""

Names = dict[str, str | list[str]] | Literal["published"]
"""Name or names of each class, by class name, or `published`."""
Background = float | list[str] | Literal["published"]
"""A constant score, words for the background, or `published`."""


def names_of_classes(given: Names | None, class_names: Sequence[str]) -> list[list[str]]:
    """The names of each class, in label order; a class that nothing is said about has its own name.

    Raises:
        ValueError: classes that the data do not have, a class without a name, no published list for these
            classes, or a name that is given to two classes.
    """
    key = "prompt_names"
    said = _published(class_names, key)["names"] if isinstance(given, str) else given or {}
    if unknown := set(said) - set(class_names):
        raise ValueError(
            "prompt_names has classes that the data source does not have: " + ", ".join(sorted(unknown))
        )
    names = [said.get(name, name) for name in class_names]
    listed = [[name] if isinstance(name, str) else list(name) for name in names]
    first: dict[str, str] = {}
    for class_name, own in zip(class_names, listed, strict=True):
        if not own:
            raise ValueError(f"{key}: class {class_name!r} has no name; give it one, or leave it out")
        for name in own:
            if name in first:
                raise ValueError(
                    f"{key}: {name!r} is a name of {first[name]!r} and again of {class_name!r}; leave one out"
                )
            first[name] = class_name
    return listed


def background_words(
    given: list[str] | Literal["published"], class_names: Sequence[str], names: Sequence[Sequence[str]]
) -> list[str]:
    """The words that stand for the background. Of a published list, those that are no name of a class.

    Args:
        given: The words, or `published`; data sets without background have no published words.
        class_names: Classes in label order.
        names: What `names_of_classes` returned for them.

    Raises:
        ValueError: no words, a word twice, one that is a name of a class, or no published list.
    """
    key = "background"
    taken = {name for own in names for name in own}
    if isinstance(given, str):
        return [word for word in _published(class_names, key)["background"] if word not in taken]
    if not given:
        raise ValueError(f"{key} has no words; give words for the background, or a cosine")
    for number, word in enumerate(given):
        if word in taken or word in given[:number]:
            what = "a name of a class" if word in taken else "given twice"
            raise ValueError(f"{key}: {word!r} is {what}; leave it out")
    return list(given)


def _published(class_names: Sequence[str], key: str) -> dict[str, Any]:
    """Entry of the vocabulary with these classes, in whatever order."""
    lists = read("synonyms", __name__)
    for vocabulary, entry in lists.items():
        if set(load(vocabulary)) == set(class_names):
            found: dict[str, Any] = entry
            return found
    given = {"background": "as [word, ...]"}.get(key, "as {class: [name, ...]}")
    raise ValueError(
        f"{key} is published, but the published names are those of {', '.join(lists)}, and none of them has "
        f"the classes of these data ({', '.join(class_names[:3])}, ...); write them {given}"
    )
