"""Which view `data.view` names: one of this package by its name, or one of a user's own by its class path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from wsss_bench.data.own_class import OwnClass, readable
from wsss_bench.data.views import CaptionView, GroupView, ImageView, MaskView, PairView, View
from wsss_bench.types import ViewName

VIEWS: dict[ViewName, type[View]] = {
    "image": ImageView,
    "pair": PairView,
    "group": GroupView,
    "caption": CaptionView,
    "mask": MaskView,
}
"""The views of this package by their name in `data.view`."""


@readable
class OwnView(OwnClass):
    """A view of a user's own, as `data.view` names it."""

    word = "view"
    names = get_args(ViewName)
    given = ("source", "ids", "transform", "random_seed", "partners", "masks")

    def __init__(self, class_path: str, init_args: Mapping[str, Any] | None = None) -> None:
        super().__init__(class_path, init_args)
        if not hasattr(self.kind, "batch_type"):
            raise ValueError(f"{class_path} does not set batch_type; name the type of what collate returns")

    @staticmethod
    def base() -> type:
        return View


def view_class(view: ViewName | OwnView) -> type[View]:
    """The class that `data.view` names."""
    return view.kind if isinstance(view, OwnView) else VIEWS[view]
