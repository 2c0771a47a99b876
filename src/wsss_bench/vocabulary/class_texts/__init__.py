"""What is said to a text encoder: one text for each class, and texts of what is no class.

The lists of `class_texts.yaml` are those of CLIP-ES, which WeCLIP and ExCEL use unchanged, of CLIMS, and our
own; the file gives the source of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wsss_bench.vocabulary import read


def class_texts(given: str | Mapping[str, str], class_names: Sequence[str], key: str) -> list[str]:
    """Text of each class, in the order of `class_names`.

    Args:
        given: Name of a list, or the text of each class by its name.
        class_names: Classes of the data source.
        key: Where it was given, for messages: `model.init_args.class_texts`.

    Raises:
        ValueError: no such list, or the list lacks a class.
    """
    texts = _list("foreground", given) if isinstance(given, str) else given
    return [texts[name] for name in require_all_classes(class_names, texts, "class", given, key)]


def background_texts(given: str | Sequence[str]) -> list[str]:
    """Background texts that all images use, given by the name of a list or themselves.

    Raises:
        ValueError: no such list.
    """
    return list(_list("background", given) if isinstance(given, str) else given)


def require_all_classes(
    class_names: Sequence[str], texts: Mapping[str, Any], kind: str, given: Any, key: str
) -> Sequence[str]:
    """The class names, if each has a text.

    Raises:
        ValueError: classes without a text, with what to change.
    """
    if missing := [name for name in class_names if name not in texts]:
        which = f" {given!r}" if isinstance(given, str) else ""
        raise ValueError(
            f"the {kind} texts{which} lack the class {', '.join(missing)}; choose another list with {key}, "
            f"or write the texts themselves there: {key}: {{{class_names[0]}: ..., ...}}"
        )
    return class_names


def _list(kind: str, name: str) -> Any:
    lists = read("class_texts", __name__)[kind]
    if name not in lists:
        raise ValueError(f"no {kind} texts {name!r}; known: {', '.join(sorted(lists))}")
    return lists[name]
