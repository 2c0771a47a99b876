"""Figures as plotly draws them, each behind the choices that lead to it.

A chart is a tree of choices: `{label, options}` where the reader chooses, `{label, figure, note}` where a
figure is drawn. `charts.js` makes a list box for each level, and gives the figures the colours of the theme.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

COLOURS = (
    "#4269d0", "#e8890c", "#e5484d", "#2ba59a", "#3ca951",
    "#e36bae", "#9a5fe0", "#7aa0e8", "#9c6b4e", "#8b929c",
)  # fmt: skip
SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "star", "x", "pentagon")
HEIGHT = 420
"""Pixels of a figure whose height does not follow from its content."""
BAR = 22
"""Pixels of a horizontal bar with its margin."""

LEGEND = {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0}
"""Where the names of the traces stand: above the figure."""

Choice = dict[str, Any]
"""A node of the tree of choices, in JSON types."""


def choice(label: str, options: Sequence[Choice]) -> Choice:
    """A node at which the reader chooses."""
    return {"label": label, "options": list(options)}


def leaf(label: str, traces: Sequence[Any], layout: dict[str, Any], note: str = "") -> Choice:
    """A node with a figure.

    Args:
        label: Its name in the list box above it.
        traces: Traces of plotly.
        layout: What differs from the usual layout.
        note: A sentence below the figure.
    """
    usual = {
        "height": HEIGHT,
        "margin": {"l": 56, "r": 16, "t": 16, "b": 48},
        "legend": LEGEND,
        "hovermode": "closest",
    }
    figure = {
        "data": [trace.to_plotly_json() for trace in traces],
        "layout": go.Layout({**usual, **layout}).to_plotly_json(),
    }
    return {"label": label, "figure": figure, "note": note}


def titled(text: str, **values: Any) -> dict[str, Any]:
    """An axis with a title, growing its margin where labels are long."""
    return {"title": {"text": plain(text), "font": {"size": 13}}, "automargin": True, **values}


def plain(text: str) -> str:
    """Text for plotly, which reads some HTML in it."""
    return html.escape(text, quote=False)


def colour(position: int) -> str:
    """The colour of the method at a position in the plan, in all figures."""
    return COLOURS[position % len(COLOURS)]


def symbol(position: int) -> str:
    """Its marker; so that methods of the same colour differ."""
    return SYMBOLS[(position + position // len(COLOURS)) % len(SYMBOLS)]
