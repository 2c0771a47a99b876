"""`wsss-bench report` with `--latex`, `--markdown` or `--csv`: one form on stdout, and nothing else."""

from __future__ import annotations

import csv
import io

import fakes
import pytest

from wsss_bench.cli import main
from wsss_bench.plan.planner import make_plan
from wsss_bench.report.data_files import COLUMNS


@pytest.fixture
def finished(project):
    """An experiment of fake stages that has run."""
    file = project.experiment()
    for stage in make_plan(file, project.runs).stages.values():
        stage.path.mkdir(parents=True)
        stage.write_plan()
        fakes.run_one(str(stage.path / "plan.yaml"))
    return file


def export(project, file, *options) -> int:
    return main(["report", str(file), "--runs", str(project.runs), *options])


def table(project, file) -> int:
    return main(["table", str(file), "--runs", str(project.runs)])


STARTS = {
    "latex": "% \\usepackage{booktabs}\n\\begin{table}\n",
    "markdown": "### Seeds on toy train: which method localises best?\n",
    "csv": "method,dataset,split,",
}


@pytest.mark.parametrize("form", STARTS)
def test_one_form_alone_is_printed_and_no_file_is_written(project, finished, form, capsys):
    capsys.readouterr()
    assert export(project, finished, f"--{form}") == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(STARTS[form])
    assert captured.err == ""
    assert "leaderboard" not in captured.out
    assert not (project.runs / "toy").exists()
    assert captured.out.count("cam") > 1


def test_the_csv_is_that_of_the_leaderboard(project, finished, capsys):
    table(project, finished)
    capsys.readouterr()
    export(project, finished, "--csv")
    printed = capsys.readouterr().out
    assert printed == (project.runs / "toy" / "leaderboard.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) > 5


@pytest.mark.parametrize(
    ("form", "printed"), [("latex", ""), ("markdown", ""), ("csv", ",".join(COLUMNS) + "\n")]
)
def test_nothing_scored_is_said_on_stderr(project, form, printed, capsys):
    assert export(project, project.experiment(), f"--{form}") == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (printed, "nothing of toy is scored yet\n")


def test_one_form_at_a_time(project, capsys):
    with pytest.raises(SystemExit, match="2"):
        export(project, project.experiment(), "--latex", "--csv")
    assert "argument --csv: not allowed with argument --latex" in capsys.readouterr().err


def test_without_a_form_the_tables_are_printed_and_the_files_written(project, finished, capsys):
    capsys.readouterr()
    assert table(project, finished) == 0
    printed = capsys.readouterr().out
    assert "Seeds on toy train: which method localises best?" in printed
    assert max(map(len, printed.splitlines()[:-1])) <= 118
    files = {path.name for path in (project.runs / "toy").iterdir()}
    assert {"leaderboard.csv", "leaderboard.json", "leaderboard.md", "leaderboard.png"} <= files
