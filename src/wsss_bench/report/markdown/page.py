"""The leaderboard for people: a Markdown page with the tables of each data set, differences and footnotes."""

from __future__ import annotations

from collections.abc import Sequence

from wsss_bench.plan.plan import Plan
from wsss_bench.report.differences import Difference
from wsss_bench.report.leaderboard import Leaderboard
from wsss_bench.report.markdown.cost import cost_section
from wsss_bench.report.markdown.dataset import DatasetResults
from wsss_bench.report.markdown.footnotes import footnotes
from wsss_bench.report.markdown.published import published_section
from wsss_bench.report.markdown.scores import seed_section, segmentation_section


def render(plan: Plan, board: Leaderboard, differences: Sequence[Difference]) -> str:
    """The whole page."""
    commit = board.usual_commit
    parts = [f"# {plan.experiment}"]
    for dataset in dict.fromkeys(product.cell.dataset for product in plan.products):
        results = DatasetResults(plan, board, dataset, commit)
        parts += [f"## {dataset}", *seed_section(results), *segmentation_section(results)]
        parts += [*cost_section(results), *published_section(results)]
    parts += _difference_section(differences)
    parts.append(footnotes(board, commit))
    return "\n\n".join(parts) + "\n"


def _difference_section(differences: Sequence[Difference]) -> list[str]:
    if not differences:
        return []
    lines = [
        f"- {one.first} - {one.second}: {one.points:+.1f} [{one.low:+.1f}, {one.high:+.1f}]"
        f"{'' if one.is_clear else ' (zero is inside)'}, `{one.protocol}`, {one.n_images} images"
        for one in differences
    ]
    return ["## Differences in mIoU, 95 % interval of a paired bootstrap over images", "\n".join(lines)]
