"""Every figure in the running text of README and docs is a value that is made, or has a source that is named.

A figure is a number with a decimal point, with a unit, or with a word for what is counted. The logs are
history, and code shows what is typed and printed; both are left out.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import documented
import paths
import pytest
import yaml

sys.path.insert(0, str(paths.ROOT / "docs"))
from figures import pages

CITED = yaml.safe_load((paths.ROOT / "tests" / "cited_numbers.yaml").read_text())
"""By page: the reason, and the figures that it holds for."""
PAGES = {
    name: page.read_text()
    for page in documented.PAGES
    if not (name := page.relative_to(paths.ROOT).as_posix()).startswith(("docs/log/", "docs/tables/"))
}
NUMBER = r"(?<![\w.,/#^-])(?:\d[\d ]*\d|\d)?(?:\.\d+)?(?<=\d)(?![\w/]|\.\d)"
FEW, MORE = "two|three|four|five", "six|seven|eight|nine|ten|eleven|twelve|twenty"
UNIT = r"(?:%|mIoU|points?|ms|s|seconds?|min|minutes?|hours?|days?|[KMG]i?B|kB|bytes|x|times)\b|%"
COUNTED = r"(?:methods|stages|images|photographs|classes|data sets|files|words|parameters|steps|epochs)\b"
FIGURE = re.compile(
    rf"{NUMBER}(?:-| )?(?:{UNIT}|{COUNTED})|(?<![\w.,/#^-])\d*\.\d+(?![\w/]|\.\d)"
    rf"|\b(?:half an?|{FEW}|{MORE}) (?:points?|ms|seconds?|minutes?|hours?|days?)\b|\b(?:{MORE}) {COUNTED}"
)
OF_NO_PAGE = re.compile(
    r"`[^`\n]*(?:\n[^`\n]+)?`"  # code
    r"|<!-- table: .*?<!-- end of table -->"
    r"|<!--=\S+?-->.*?<!--/-->|<!--.*?-->"
    r"|\]\([^)]*\)|<?https?://\S+"  # addresses
    r"|^#.*?$",  # headings
    re.DOTALL | re.MULTILINE,
)


def figures_in(text: str) -> Iterator[tuple[int, str]]:
    """The figures in the running text of a page, with the numbers of their lines."""
    prose = documented.prose(text)
    prose = OF_NO_PAGE.sub(lambda found: "\n" * found[0].count("\n"), prose)
    for found in FIGURE.finditer(prose):
        yield prose.count("\n", 0, found.start()) + 1, " ".join(found[0].split())


@pytest.mark.parametrize("page", PAGES)
def test_figures_are_made_or_cited(page):
    found = sorted(figure for _, figure in figures_in(PAGES[page]))
    cited = sorted(figure for figures in CITED.get(page, {}).values() for figure in figures)
    assert found == cited, (
        f"{page} has {[*figures_in(PAGES[page])]}: write what is measured as <!--=NAME-->...<!--/--> "
        "(docs/figures), and what others published into tests/cited_numbers.yaml, as often as it stands there"
    )


def test_what_is_cited_names_its_source_and_its_page():
    assert PAGES.keys() >= CITED.keys()
    assert all(isinstance(source, str) and source for sources in CITED.values() for source in sources)


@pytest.mark.parametrize("page", PAGES)
def test_a_value_stands_within_a_line(page):
    """One at its start would begin a block of HTML."""
    for line in PAGES[page].splitlines():
        assert not line.lstrip("-*> ").startswith("<!--="), line
        assert line.count("<!--=") == line.count("<!--/-->") == len(pages.VALUE.findall(line)), line


PAGE = """
# 12 methods

CAM has 52.3, 4 points more; nine methods, half a minute, 1000 images and 1.2 GB, 7 %. 2 of Python 3.10.
<!--=cam.val-->52.0<!--/--> is a value, `0.5 s` is code, a [link](x-0.5.md).

    printed 51.2

<!-- table: one -->
| 51.3 |
<!-- end of table -->
| a | 0.25 |
"""


def test_figures_are_found():
    assert [figure for _, figure in figures_in(PAGE)] == [
        *("52.3", "4 points", "nine methods", "half a minute", "1000 images", "1.2 GB", "7 %", "3.10"),
        "0.25",
    ]
