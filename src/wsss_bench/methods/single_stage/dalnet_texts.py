"""The texts of DALNet (`dalnet_texts.yaml`), by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wsss_bench.vocabulary import read


def foreground_texts(name: str, class_names: Sequence[str]) -> list[str]:
    """Text of each class, in the order of `class_names`.

    Raises:
        ValueError: no such list, or the list lacks a class.
    """
    texts = _list("foreground", name)
    _require(class_names, texts, "foreground", name, "text.fg_set")
    return [texts[c] for c in class_names]


def background_texts(name: str) -> list[str]:
    """Texts of background that are the same for all images.

    Raises:
        ValueError: no such list.
    """
    return list(_list("background", name))


def related_texts(name: str, class_names: Sequence[str]) -> dict[str, list[str]]:
    """Texts of background for each class.

    Raises:
        ValueError: no such list, or the list lacks a class.
    """
    texts = _list("class_related", name)
    _require(class_names, texts, "class_related", name, "text.bg_set")
    return {c: list(texts[c]) for c in class_names}


def _list(kind: str, name: str) -> Any:
    lists = read("dalnet_texts", __package__)[kind]
    if name not in lists:
        raise ValueError(f"no {kind} texts {name!r} for DALNet; known: {', '.join(sorted(lists))}")
    return lists[name]


def _require(class_names: Sequence[str], texts: dict[str, Any], kind: str, name: str, key: str) -> None:
    if lacking := [c for c in class_names if c not in texts]:
        raise ValueError(
            f"the {kind} texts {name!r} know no class {', '.join(lacking)}; choose another list with {key}, or add the "
            "class to methods/single_stage/dalnet_texts.yaml"
        )
