"""The page of an experiment: reads what its stages left, renders it, and writes one folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from wsss_bench.artifacts.files import write_bytes
from wsss_bench.artifacts.locks import waiting_for_lock
from wsss_bench.data.check import load_source
from wsss_bench.data.sources.base import Source
from wsss_bench.plan.plan import Plan
from wsss_bench.plan.state import STALE
from wsss_bench.report.differences import Difference, differences
from wsss_bench.report.html.cost_chart import cost_chart
from wsss_bench.report.html.error_charts import SIZES, activation_chart, size_chart
from wsss_bench.report.html.errors import KINDS
from wsss_bench.report.html.facts import Facts, read_facts
from wsss_bench.report.html.gallery import Gallery, galleries_of
from wsss_bench.report.html.groups import groups_of, scored_datasets
from wsss_bench.report.html.heat_map import heat_maps
from wsss_bench.report.html.pictures import Pictures, read_pictures, render_pictures
from wsss_bench.report.html.protocol import protocol_in_words
from wsss_bench.report.html.scores import axes_of, filters_of, first_product, lines_of
from wsss_bench.report.html.threshold_chart import threshold_chart
from wsss_bench.report.html.training_chart import Training, read_trainings, training_chart
from wsss_bench.report.leaderboard import Leaderboard
from wsss_bench.report.markdown.cost import cost_lines
from wsss_bench.report.markdown.dataset import DatasetResults
from wsss_bench.report.markdown.published import published_lines

FOLDER, PAGE, PICTURES = "report", "index.html", "pictures"
"""Folder of the page in that of the experiment, the page, and its folder of pictures."""
PLOTLY = "plotly.min.js"
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Content:
    """Everything that was read for a page.

    Args:
        plan: What was asked for.
        board: What is done.
        compared: Differences between methods.
        facts: The stages.
        trainings: Curves.
        galleries: What pictures are shown.
        pictures, class_names, problems: What was read of them (`pictures.read_pictures`).
    """

    plan: Plan
    board: Leaderboard
    compared: list[Difference]
    facts: Facts
    trainings: list[Training]
    galleries: list[Gallery]
    pictures: Pictures
    class_names: dict[str, tuple[str, ...]]
    problems: dict[str, str]


def write_page(plan: Plan, board: Leaderboard, runs: Path) -> Path:
    """Write `<runs>/<experiment>/report/index.html` and the files beside it; returns its path.

    Of two processes that write the same page the later one waits for the other, and its page stays.
    """
    folder = runs / plan.experiment / FOLDER
    content = read_content(plan, board, folder)
    text, pictures = render(content, time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()))
    with waiting_for_lock(folder, "report"):
        write_files(folder, text, pictures)
    return folder / PAGE


def write_files(folder: Path, text: str, pictures: Mapping[str, bytes]) -> None:
    """Write a page, its pictures by file name, and what it loads.

    The page itself is written when the files that it names are there; pictures of an earlier page are removed
    after that.
    """
    for asset in sorted((HERE / "assets").iterdir()):
        write_bytes(folder / asset.name, asset.read_bytes())
    write_bytes(folder / PLOTLY, get_plotlyjs().encode())
    for name, picture in pictures.items():
        if not (folder / PICTURES / name).is_file():  # its name says its content
            write_bytes(folder / PICTURES / name, picture)
    write_bytes(folder / PAGE, text.encode())
    for old in (folder / PICTURES).glob("*.webp"):
        if old.name not in pictures:
            old.unlink()


def read_content(
    plan: Plan,
    board: Leaderboard,
    folder: Path,
    load: Callable[[dict[str, Any]], Source] = load_source,
) -> Content:
    """Read everything that a page shows.

    Args:
        plan: The plan.
        board: Its leaderboard.
        folder: Folder of the page, which links start from.
        load: Builds the source of images and truth from class and arguments.
    """
    galleries = list(galleries_of(plan, board))
    return Content(
        plan,
        board,
        differences(board),
        read_facts(plan, board, folder),
        read_trainings(plan),
        galleries,
        *read_pictures(galleries, load),
    )


def render(content: Content, written: str) -> tuple[str, dict[str, bytes]]:
    """The text of the page, and its pictures by file name; reads nothing but templates.

    Args:
        content: What was read.
        written: When the page is written, in words.
    """
    plan, board, facts = content.plan, content.board, content.facts
    groups = groups_of(plan, board)
    methods = list(dict.fromkeys(product.cell.row for product in plan.products))
    positions = {method: place for place, method in enumerate(methods)}
    lines = lines_of(plan, board)
    shown, pictures = render_pictures(
        content.galleries, content.pictures, content.class_names, content.problems
    )
    tables = [DatasetResults(plan, board, name, board.usual_commit) for name in scored_datasets(plan)]
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    text = environment.get_template("page.html").render(
        experiment=plan.experiment,
        written=written,
        methods=methods,
        datasets=[table.dataset for table in tables],
        facts=facts,
        lines=lines,
        axes=axes_of(lines),
        filters=filters_of(lines),
        first_product=first_product(lines),
        compared=content.compared,
        charts={
            "cost": cost_chart(groups, positions, facts.hours),
            "thresholds": threshold_chart(groups, positions),
            "training": training_chart(content.trainings),
            "activation": activation_chart(groups),
            "sizes": size_chart(groups, positions),
        },
        heat_maps=heat_maps(groups),
        galleries=shown,
        kinds=KINDS,
        sizes=SIZES,
        costs={table.dataset: cost_lines(table) for table in tables},
        published={table.dataset: found for table in tables if len(found := published_lines(table)) > 1},
        protocols={
            table.dataset: protocol_in_words(table.protocol, table.segmenter, table.methods)
            for table in tables
        },
        stale=_stale(board),
    )
    return text, pictures


def _stale(board: Leaderboard) -> list[str]:
    """Names of the stages that have changed since they ran."""
    changes = [item for row in board.rows for run in row.runs for item in run.changes.items()]
    return sorted({name for name, found in changes if any(change in STALE for change in found)})
