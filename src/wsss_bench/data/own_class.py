"""Classes of a user in the settings of the data: a view or a transform, by its path and its arguments.

    data:
      view: {class_path: two_crops.TwoCrops, init_args: {distance: 8}}

The text `image` is a view of this package; a mapping is a class of your own, as `model` and `source` are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from jsonargparse import ArgumentParser
from jsonargparse.typing import register_type

from wsss_bench.own_modules import import_subclass
from wsss_bench.parser_errors import parser_sentence
from wsss_bench.plan.schema import nearest

Own = TypeVar("Own", bound="OwnClass")


class OwnClass(ABC):
    """A class and the arguments that a configuration gives it.

    Args:
        class_path: Module and class.
        init_args: Arguments by name; they are checked and converted as those of all other classes.

    Raises:
        ValueError: the class cannot be imported, is not of this kind, or does not take the arguments.
    """

    word: ClassVar[str]
    """What the class is, in a word for messages."""
    names: ClassVar[tuple[str, ...]]
    """What this package has of the kind."""
    given: ClassVar[tuple[str, ...]]
    """Arguments of the constructor that a configuration does not give."""

    def __init__(self, class_path: str, init_args: Mapping[str, Any] | None = None) -> None:
        self.class_path = class_path
        self.init_args = dict(init_args or {})
        self.kind = import_subclass(class_path, self.base(), self.word)
        self._arguments = self._read_arguments()

    @staticmethod
    @abstractmethod
    def base() -> type:
        """What the class derives from."""

    @classmethod
    def from_plain(cls: type[Own], value: Any) -> Own:
        """The class that a configuration names.

        Raises:
            ValueError: it names none, as in the constructor.
        """
        if isinstance(value, cls):
            return value
        own = f"an own {cls.word} is {{class_path: my_module.MyClass, init_args: {{...}}}}, given as a whole"
        if isinstance(value, str):
            raise ValueError(f"there is no {cls.word} {value!r}; {nearest(value, cls.names)}; {own}")
        if not isinstance(value, Mapping) or not isinstance(value.get("class_path"), str):
            raise ValueError(f"expected one of {', '.join(cls.names)}; {own}")
        if unknown := sorted(set(map(str, value)) - {"class_path", "init_args"}):
            raise ValueError(f"unknown key {unknown[0]!r}; {own}")
        arguments = value.get("init_args")
        if arguments is not None and not isinstance(arguments, Mapping):
            raise ValueError(f"init_args of {value['class_path']} are no mapping; {own}")
        return cls(value["class_path"], arguments)

    def plain(self) -> dict[str, Any]:
        """As it stands in a configuration."""
        return {"class_path": self.class_path, **({"init_args": self.init_args} if self.init_args else {})}

    def build(self, *given: Any, **more: Any) -> Any:
        """An object of the class.

        Args:
            *given: The first of `given`.
            **more: Others of `given`, by name.
        """
        return self.kind(*given, **more, **self._arguments)

    def _read_arguments(self) -> dict[str, Any]:
        parser = ArgumentParser(exit_on_error=False)
        known = parser.add_class_arguments(self.kind, skip=set(self.given), fail_untyped=False)
        if unknown := [name for name in self.init_args if name not in known]:
            raise ValueError(f"{self.class_path} has no option {unknown[0]!r}; {nearest(unknown[0], known)}")
        try:
            read = parser.instantiate(parser.parse_object(dict(self.init_args)))
        except Exception as error:  # of the parser, which says what is wrong in several lines
            raise ValueError(f"{self.class_path}: {parser_sentence(error)}") from error
        return {name: value for name, value in vars(read).items() if name in self.init_args}


def readable(kind: type[OwnClass]) -> type[OwnClass]:
    """Let the parser of configurations read and write a subclass of `OwnClass`."""
    register_type(kind, serializer=kind.plain, deserializer=kind.from_plain)
    return kind
