"""The tables as text of any width, as Markdown and as LaTeX."""

from __future__ import annotations

import io
import re
import shutil
import subprocess

import pytest
from boards import Method
from hand_made import World
from rich.console import Console

from wsss_bench.report.tables.build import Summary, summarize_board
from wsss_bench.report.tables.github import escape as escape_markdown
from wsss_bench.report.tables.github import github_markdown
from wsss_bench.report.tables.latex import escape, latex, table_latex
from wsss_bench.report.tables.table import Cell, Group, Head, Line, Table
from wsss_bench.report.tables.text import page, table_text

LONG = "dalnet_with_a_name_of_more_than_forty_characters-lambda=0.25"
PAPER = {"dataset": "toy", "split": "train", "product": "seed", "miou": 56.6, "rule": "fixed"}


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


@pytest.fixture(scope="module")
def summary(tmp_path_factory) -> Summary:
    """Ten variants, long names, a failure, a half-done row, references, two data sets, three random seeds."""
    world = World(tmp_path_factory.mktemp("experiment"))
    world.plan.datasets["toy2"] = world.plan.datasets["toy"]
    world.plan.segmenters["toy"] = "deeplabv2 (ResNet-101, coco_masks) on the masks of irn"
    three = {"random_seeds": 3, "step": 0.008}

    def whole(method: Method) -> None:
        method.seeds().masks("threshold").masks("densecrf", 0.03).masks("irn", 0.06).segmentation("irn", 0.05)

    whole(Method(world, "cam", 0.46, **three))
    source = "A paper with very many authors, a conference with a long name, 2022, table 3, second row"
    paper = [{**PAPER, "source": source}]
    clip = {"extra": ["clip", "llm_text", "saliency"]}
    whole(Method(world, "clims", 0.487, warm_start="cam", paper=paper, **clip, **three))
    whole(Method(world, LONG, 0.45, **clip, **three))
    for number in range(10):
        whole(Method(world, f"clims-lambda_{number}", 0.38 + number / 100, method="clims", **clip, **three))
    whole(Method(world, "failed", 0.4, done=0, state="failed"))
    whole(Method(world, "half", 0.4, done=1, **three))
    Method(world, "code", 0.52, supervision="caption", pipeline="single_stage").seeds().segmentation()
    floor = {"supervision": "none", "pipeline": "zero_shot", "trains": False, "role": "floor"}
    Method(world, "clip_zeroshot", 0.4, remark="re-implementation", **floor).seeds().segmentation()
    Method(world, "full", 0.9, supervision="mask", pipeline="upper_bound").segmentation()
    Method(world, "cam", 0.5, dataset="toy2").seeds()
    return summarize_board(world.plan, world.leaderboard())


@pytest.mark.parametrize("width", [60, 80, 100, 118, 200])
def test_no_line_is_wider_than_the_terminal_and_no_name_is_lost(summary, width):
    text = page(summary, width).plain
    assert max(map(len, text.splitlines())) <= min(width, 118)
    joined = re.sub(r"\s", "", text)
    for name in (LONG, "clip_zeroshot(floor,re-implementation)", "clims-lambda_9"):
        # a name that is broken over lines has the rest of its first line in between
        parts = re.findall(r"[^_=-]+[_=-]?", name)
        assert all(part in joined for part in parts), name
    assert "48.7" not in text  # the mean of three, not the first
    assert "49.5 ± 0.8" in text
    assert "failed" in text
    assert "1 of 3" in text
    for table in summary.tables:
        assert table.question in text.replace("\n", " ")


def test_a_page_without_scores_promises_only_those_that_will_come():
    text = page(Summary([], [], ["No score yet: seeds on toy."])).plain
    assert text == "Nothing is scored.\n\nNo score yet: seeds on toy.\n"


def test_a_wide_page_has_all_columns_and_a_narrow_one_names_those_it_leaves_out(summary):
    assert "left out" not in page(summary, 118).plain.split("Segmentation on toy val")[0]
    seeds = page(summary, 80).plain.split("Pseudo masks on toy train")[0]
    assert "left out for lack of room: held-out, oracle†, bg FP, bg FN" in seeds
    head = next(line for line in seeds.splitlines() if line.strip().startswith("#"))
    assert head.split() == ["#", "method", "extra", "mIoU", "to", "best", "runs"]


def test_what_a_reader_sees():
    """A small table, to the letter."""
    heads = (Head("#"), Head("method", "words"), Head("mIoU"), Head("to best"), Head("bg FP", drop=1))
    lines = [
        Line((Cell("1"), Cell("clims"), Cell("48.7 ± 0.5", 48.7, 0.5, 1), Cell("best"), Cell("9.1"))),
        Line(
            (
                Cell("2"),
                Cell("a-method_of_forty_characters_in_all_here"),
                Cell("46.4"),
                Cell("-2.3 ≈"),
                Cell(),
            )
        ),
        Line((Cell(), Cell("broken"), Cell("failed"), Cell(), Cell())),
    ]
    table = Table(
        "toy-seed", "Seeds: which is best?", "mIoU in %", heads, (Group("image labels", tuple(lines)),)
    )
    assert table_text(table, 118).plain.splitlines() == [
        "Seeds: which is best?",
        "mIoU in %",
        "",
        "  #  method                                    mIoU  to best  bg FP",
        "  ─────────────────────────────────────────────────────────────────",
        "  image labels",
        "  1  clims                               48.7 ± 0.5     best    9.1",
        "  2  a-method_of_forty_characters_in_          46.4   -2.3 ≈",
        "     all_here",
        "     broken                                  failed",
    ]
    assert table_text(table, 44).plain.splitlines()[1:] == [
        "mIoU in %",
        "left out for lack of room: bg FP",
        "",
        "  #  method                    mIoU  to best",
        "  ──────────────────────────────────────────",
        "  image labels",
        "  1  clims               48.7 ± 0.5     best",
        "  2  a-method_of_forty_        46.4   -2.3 ≈",
        "     characters_in_all_",
        "     here",
        "     broken                  failed",
    ]


def test_best_scores_are_bold_and_failures_red_on_a_terminal(summary):
    file = io.StringIO()
    console = Console(force_terminal=True, color_system="standard", width=118, file=file)
    console.print(page(summary), soft_wrap=True)
    shown = file.getvalue()
    assert re.search(r"\x1b\[1m *49.5 ± 0.8\x1b\[0m", shown)
    assert re.search(r"\x1b\[31m *failed", shown)


def test_markdown_has_tables_that_github_reads(summary):
    text = github_markdown(summary)
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == len(summary.tables)
    for table, lines in zip(summary.tables, blocks, strict=True):
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {len(table.heads) + 1}
        assert re.fullmatch(r"\|(-+\|)+", lines[1])
    assert "### Seeds on toy train: which method localises best?" in text
    assert "| **learn from image labels**" in text
    assert "| **49.5 ± 0.8** |" in text
    assert "| \\#" in text  # the column of ranks
    assert "- `#`: rank among" in text
    assert escape_markdown("a|b*c_d <e> ~f~ [g]`h`") == "a\\|b\\*c\\_d \\<e\\> \\~f\\~ \\[g\\]\\`h\\`"


def test_every_special_character_of_latex_is_escaped():
    assert escape("50% a_b & #1 {x} ^ ~ $5 \\end") == (
        r"50\% a\_b \& \#1 \{x\} \textasciicircum{} \textasciitilde{} \$5 \textbackslash{}end"
    )
    assert escape("1 ± 2 † ‡ ≈ <a|b>") == (
        r"1 $\pm$ 2 $\dagger$ $\ddagger$ $\approx$ \textless{}a\textbar{}b\textgreater{}"
    )


def test_the_latex_of_a_table_to_the_letter(world):
    Method(world, "clims", 0.50, random_seeds=3, step=0.01, extra=["clip"]).seeds()
    Method(world, "we_clip", 0.44, extra=["clip"]).seeds()
    Method(world, "third", 0.43, extra=["clip"]).seeds()
    Method(world, "cam", 0.46, random_seeds=2, done=1).seeds()
    Method(world, "pending", 0.46, done=0).seeds()
    floor = {"supervision": "none", "pipeline": "zero_shot", "trains": False, "role": "floor"}
    Method(world, "floor", 0.40, **floor).seeds()
    (table,) = summarize_board(world.plan, world.leaderboard()).scores
    caption = (
        r"Seeds on toy train: mIoU in \%, 10 images, mean $\pm$ std of 3 random seeds; image labels given, "
        r"threshold of the method's file. Protocol: toy-train/n10/labels-given/ss/raw/thr-fixed/last."
    ).replace("/", r"/\allowbreak{}")
    expected = r"""% \usepackage{booktabs}
% cam: 1 of 2 random seeds are done
\begin{table}
  \centering
  \caption{CAPTION}
  \label{tab:toy-seed}
  \begin{tabular}{lr}
    \toprule
    method & mIoU \\
    \midrule
    \multicolumn{2}{l}{\textit{learn from image labels, extra: clip}} \\
    clims & \textbf{51.0}$_{\pm 1.0}$ \\
    we\_clip & \underline{44.0} \\
    third & 43.0 \\
    \midrule
    \multicolumn{2}{l}{\textit{learn from image labels}} \\
    cam & 46.0 \\
    \midrule
    \multicolumn{2}{l}{\textit{references, not ranked}} \\
    floor (floor) & 40.0 \\
    \bottomrule
  \end{tabular}
\end{table}
"""
    assert table_latex(table) == expected.replace("CAPTION", caption)


def test_the_latex_is_well_formed(summary):
    text = latex(summary)
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == len(summary.scores) == 4
    labels = re.findall(r"\\label\{(.*)\}", text)
    assert labels == ["tab:toy-seed", "tab:toy-pseudo-mask", "tab:toy-segmentation", "tab:toy2-seed"]
    bare = re.sub(r"\\[\\{}$&%#_]", "", text)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    for body in re.findall(r"\\begin\{tabular\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        columns = re.match(r"\{([lr]+)\}", body)[1]
        rows = [line for line in body.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)}
        for block in body.split(r"\midrule")[2:]:
            assert block.count(r"\textbf") in (0, len(columns) - 1)  # once in each column, where some compete
            assert block.count(r"\textbf") == block.count(r"\underline")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex")
def test_the_latex_compiles(summary, tmp_path):
    special = Table("a_b", "100% & #1: x", "~^\\{}$_ <|>", (Head("method", "words"), Head("$x^2$")), (
        Group("", (Line((Cell("a_b & 50% #{x}~^\\"), Cell("1", 1.0, 0.5, 1)), "block_1"),)),
    ))  # fmt: skip
    body = latex(summary) + table_latex(special)
    document = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}{body}\\end{{document}}"
    (tmp_path / "tables.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "tables.pdf").is_file()
