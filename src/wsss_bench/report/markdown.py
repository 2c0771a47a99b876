"""The leaderboard for people: Markdown whose columns also line up in a terminal.

A ranking never crosses data sets, tracks (what a method learns from), extra data or protocols: each such
group is ranked for itself, under a line of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from wsss_bench.plan.config import MethodHints
from wsss_bench.plan.plan import Plan
from wsss_bench.report.differences import Difference
from wsss_bench.report.table import Leaderboard, Row, extra_of, stem

TRACKS = ("image-level", "caption or none", "upper bound")
NOTHING = "-"
Columns = dict[str, dict[str, str]]
"""Heading of a column to the product, split and read-out that stand in it."""


def track(hints: MethodHints) -> str:
    """Which methods a method is ranked with."""
    if hints.pipeline == "upper_bound":
        return TRACKS[2]
    return TRACKS[0] if hints.supervision in ("image", "image+text") else TRACKS[1]


def render(plan: Plan, board: Leaderboard, differences: Iterable[Difference]) -> str:
    """The whole page."""
    commit = _usual_commit(board)
    parts = [f"# {plan.experiment}"]
    for dataset in dict.fromkeys(product.cell.dataset for product in plan.products):
        parts += _Page(plan, board, dataset, commit).parts()
    lines = [
        f"- {one.first} - {one.second}: {one.points:+.1f} [{one.low:+.1f}, {one.high:+.1f}]"
        f"{'' if one.is_clear else ' (zero is inside)'}, `{one.protocol}`, {one.n_images} images"
        for one in differences
    ]
    if lines:
        parts += ["## Differences in mIoU, 95 % interval of a paired bootstrap over images", "\n".join(lines)]
    parts.append(_footnotes(board, commit))
    return "\n\n".join(parts) + "\n"


def _usual_commit(board: Leaderboard) -> str:
    counted = Counter(commit for row in board.rows if row.headline for commit in row.commits)
    return counted.most_common(1)[0][0] if counted else ""


class _Page:
    """The tables of one data set."""

    def __init__(self, plan: Plan, board: Leaderboard, dataset: str, commit: str) -> None:
        self.protocol = plan.datasets[dataset].protocol
        self.dataset = dataset
        self.commit = commit
        self.rows = [row for row in board.rows if row.dataset == dataset]
        self.gaps = {key: reason for key, reason in board.gaps.items() if key[1] == dataset}
        self.hints: dict[str, MethodHints] = {}
        self.products: dict[str, set[str]] = {}
        self.refiners: list[str] = []
        self.extras: dict[tuple[str, str], str] = {}
        self.segmenter = plan.segmenters.get(dataset)
        for product in plan.products:
            if product.cell.dataset == dataset:
                self.hints.setdefault(product.cell.row, product.cell.content.bench)
                self.products.setdefault(product.kind, set()).add(product.cell.row)
                # refiners are columns, so what one of them alone was given cannot stand over the rows
                extra = (
                    product.cell.content.bench.extra if product.kind == "pseudo_mask" else extra_of(product)
                )
                self.extras[product.cell.row, product.kind] = " ".join(sorted(extra))
                if product.refiner and product.refiner not in self.refiners:
                    self.refiners.append(product.refiner)

    def parts(self) -> list[str]:
        """Headings and tables."""
        train, (first, *others) = self.protocol.train_split, self.protocol.eval_splits
        parts = [f"## {self.dataset}"]
        if "seed" in self.products:
            columns: Columns = {
                "seed fixed": {"product": "seed", "split": train, "rule": "fixed"},
                "heldout": {"product": "seed", "split": train, "rule": "heldout"},
                "oracle†": {"product": "seed", "split": train, "rule": "oracle"},
            }
            for name in self.refiners:
                columns[name] = {"product": "pseudo_mask", "split": train, "refiner": name}
            parts += [
                f"### Seeds and pseudo masks: {self.protocol.dataset}-{train}, image labels given, "
                "ranked by `seed fixed`",
                self.table("seed", train, columns),
            ]
        if "segmentation" in self.products:
            columns = {
                f"{scales} {post}": {
                    "product": "segmentation",
                    "split": first,
                    "scales": scales,
                    "post": post,
                }
                for scales in ("ss", "ms")
                for post in ("raw", "crf")
            }
            for split in others:
                values = {"product": "segmentation", "split": split, "scales": "ss", "post": "raw"}
                columns[f"{split} ss raw"] = values
            parts.append(f"### Segmentation: {self.protocol.dataset}-{first}, no labels, ranked by `ss raw`")
            if self.segmenter:
                parts.append(f"Multi-stage methods: {self.segmenter}.")
            parts.append(self.table("segmentation", first, columns))
        parts += [f"### Cost on {self.dataset}", self.costs()]
        if any(row.paper for row in self.rows):
            parts += [f"### Published figures on {self.dataset}", self.papers()]
        return parts

    def find(self, method: str, product: str, split: str, **values: str) -> Row | None:
        """The row of a figure, or None."""
        for row in self.rows:
            named = (row.method, row.product, row.split) == (method, product, split)
            if named and all(getattr(row, name) == value for name, value in values.items()):
                return row
        return None

    def cell(self, method: str, product: str, split: str, **values: str) -> str:
        """A figure, or why there is none."""
        row = self.find(method, product, split, **values)
        if row is not None:
            return _figure(row)
        reason = next(
            (
                reason
                for (*named, refiner), reason in self.gaps.items()
                if named == [method, self.dataset, product, split]
                and values.get("refiner", refiner) == refiner
            ),
            None,
        )
        if reason is None and values.get("post") == "crf" and self.find(method, product, split):
            return "no crf"
        return reason or NOTHING

    def table(self, product: str, split: str, columns: Columns) -> str:
        """A table with one block for each group that shares a ranking."""
        groups: dict[tuple[int, str, str], list[tuple[str, Row | None]]] = {}
        members = [name for name in self.hints if name in self.products[product]]
        found = {method: self._headline(method, product, split) for method in members}
        # a method without a figure stands with those that it would be ranked with
        for method in sorted(members, key=lambda method: found[method] is None):
            row, hints = found[method], self.hints[method]
            kind = (TRACKS.index(track(hints)), self.extras[method, product])
            peers = [key for key in groups if key[:2] == kind]
            key = (*kind, stem(row.protocol)) if row else (peers[0] if peers else (*kind, ""))
            groups.setdefault(key, []).append((method, row))
        lines = [["#", "method", "supervision", *columns, "bg FP", "bg FN", "paper", "gap"]]
        for (number, extra, protocol), rows in sorted(groups.items()):
            title = TRACKS[number] + (f", extra: {extra}" if extra else "")
            title += f", {'/'.join(protocol.split('/')[3:5])}" if protocol else ""
            lines.append(["", f"**{title}**"])
            rows.sort(key=lambda entry: -(entry[1].miou_mean if entry[1] else -1.0))
            for rank, (method, row) in enumerate(rows, 1):
                figures = [self.cell(method, **values) for values in columns.values()]
                lines.append(
                    [
                        str(rank) if row else "",
                        self._name(method),
                        self.hints[method].supervision,
                        *figures,
                        *_rates(row),
                    ]
                )
        return _aligned(lines)

    def costs(self) -> str:
        """What each method takes, scoring aside."""
        steps = ["train s", "seeds s", *(f"{name} s" for name in self.refiners), "segment s", "predict s"]
        lines = [["method", "backbone", "extra", "params", *steps, "total s", "memory MB", "commit"]]
        for method, hints in self.hints.items():
            seed = self._headline(method, "seed", self.protocol.train_split)
            mask = self._headline(method, "segmentation", self.protocol.eval_splits[0])
            rows = [row for row in (seed, mask) if row is not None]
            params = next((row.scores[0].params for row in rows if row.scores[0].params is not None), None)
            memory = [value for row in rows if (value := row.mean("peak_memory_mb")) is not None]
            lines.append(
                [
                    self._name(method),
                    hints.backbone,
                    " ".join(hints.extra) or NOTHING,
                    NOTHING if params is None else _millions(params),
                    *self._seconds(method, seed, mask),
                    _number(rows[-1].mean("seconds") if rows else None, ".0f"),
                    _number(max(memory, default=None), ".0f"),
                    " ".join(sorted({commit for row in rows for commit in row.commits})) or NOTHING,
                ]
            )
        return _aligned(lines)

    def papers(self) -> str:
        """Every published figure that has a counterpart here, whichever its read-out."""
        lines = [["method", "product", "split", "read-out", "ours", "paper", "gap", "source"]]
        for row in self.rows:
            if row.paper is not None:
                readout = f"{row.scales} {row.post}" + (f", {row.rule}" if row.rule != "na" else "")
                lines.append(
                    [
                        self._name(row.method),
                        row.product,
                        row.split,
                        readout,
                        _figure(row),
                        _number(row.paper.miou, ".1f"),
                        _number(row.gap, "+.1f"),
                        row.paper.source,
                    ]
                )
        return _aligned(lines)

    def _seconds(self, method: str, seed: Row | None, mask: Row | None) -> list[str]:
        """Seconds of each step on the way: training, seeds, each refiner with all it trains, segmenter, read-outs."""
        refined = [
            self.find(method, "pseudo_mask", self.protocol.train_split, refiner=name)
            for name in self.refiners
        ]
        steps = [
            (seed or mask, ("train",)),
            (seed, ("seed",)),
            *((row, ("refine", "affinity")) for row in refined),
            (mask, ("segment",)),
            (mask, ("predict",)),
        ]
        return [_number(_mean_seconds(row, kinds), ".0f") for row, kinds in steps]

    def _headline(self, method: str, product: str, split: str) -> Row | None:
        rows = (row for row in self.rows if (row.method, row.product, row.split) == (method, product, split))
        return next((row for row in rows if row.headline), None)

    def _name(self, method: str) -> str:
        own = [row for row in self.rows if row.method == method and row.headline]
        mark = "*" if any(row.commits != [self.commit] for row in own) else ""
        words = [word for word in (self.hints[method].role, self.hints[method].remark) if word]
        return method + mark + (f" ({', '.join(words)})" if words else "")


def _mean_seconds(row: Row | None, kinds: tuple[str, ...]) -> float | None:
    """Mean over seeds of the seconds of these kinds of stages; None where there was no such stage."""
    if row is None:
        return None
    spent = [[s for kind, s in score.seconds_by_kind.items() if kind in kinds] for score in row.scores]
    return sum(map(sum, spent)) / len(spent) if all(spent) else None


def _figure(row: Row) -> str:
    done, planned = len(row.scores), row.planned
    spread = "" if row.miou_std is None else f" ± {row.miou_std:.1f}"
    return f"{row.miou_mean:.1f}{spread} ({done if done == planned else f'{done} of {planned}'})"


def _rates(row: Row | None) -> list[str]:
    if row is None:
        return [NOTHING] * 4
    return [
        _number(row.mean("false_positive_background"), ".1f"),
        _number(row.mean("false_negative_background"), ".1f"),
        _number(row.paper.miou if row.paper else None, ".1f"),
        _number(row.gap, "+.1f"),
    ]


def _number(value: float | None, form: str) -> str:
    return NOTHING if value is None else format(value, form)


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M"


def _aligned(lines: list[list[str]]) -> str:
    """Rows of a Markdown table, padded; a row of two cells is a heading inside the table."""
    width = len(lines[0])
    columns = [max(len(line[i]) for line in lines if len(line) == width) for i in range(width)]
    rendered = []
    for line in lines:
        if len(line) == width:
            cells = [text.ljust(size) for text, size in zip(line, columns, strict=True)]
        else:  # padded over the columns that it covers, all of which are empty
            cells = [line[0].ljust(columns[0]), line[1].ljust(columns[1])] + [""] * (width - 2)
        rendered.append("| " + " | ".join(cells) + " |")
    rendered.insert(1, "|" + "|".join("-" * (size + 2) for size in columns) + "|")
    return "\n".join(rendered)


def _footnotes(board: Leaderboard, commit: str) -> str:
    notes = [
        "mIoU in percent; background counts as a class where the data set has one; mean ± sample standard "
        "deviation (number of seeds). Ranks hold inside a block only: one data set, one track, the same extra "
        "data, one protocol.",
        "Seeds: `fixed` uses the threshold of the method's file and ranks; `heldout` was chosen on training "
        "images that are left out of the score; † `oracle` was chosen on the scored images: an upper bound, "
        "not a result.",
        "ss, ms: one scale, several scales with flip; crf: DenseCRF in the one setting of the data set.",
        "bg FP: true background predicted as foreground, of all background; bg FN: true foreground predicted "
        "as background, of all foreground; both in percent, of the ranking figure; `-` where a data set has no background.",
        "Seconds: CPU time, or GPU time where there is one. `train` counts the method that a warm start begins "
        "with; a refiner's column counts the labels and the network that it trains; `total` is everything that "
        "leads to the last product, scoring not counted.",
    ]
    reasons = set(board.gaps.values())
    if reasons:
        notes.append(
            "`-`: not run, or not part of the method; `failed`: a stage failed, its log.txt says why."
        )
    if any(reason.startswith("no ") for reason in reasons) or _lacks_crf(board):
        notes.append("`no crf`: made without the CRF extension; install it, delete the stage and run again.")
    if any(row.commits != [commit] for row in board.rows if row.headline):
        notes.append(f"\\*: made, at least in part, from another commit than most rows ({commit}).")
    if any(one.endswith("+") for row in board.rows for one in row.commits):
        notes.append("A commit with `+` had local changes.")
    return "\n".join(f"- {note}" for note in notes)


def _lacks_crf(board: Leaderboard) -> bool:
    scored = {
        (row.method, row.dataset, row.split, row.post) for row in board.rows if row.product == "segmentation"
    }
    return any(post == "raw" and (*rest, "crf") not in scored for *rest, post in scored)
