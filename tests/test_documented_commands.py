"""Every command in README and docs is one that the program, the Makefile or a script understands."""

from __future__ import annotations

from pathlib import Path

import documented
import pytest
from documented_checks import EXAMPLES, Checks, imports_torch

UNCHECKED = {
    ".venv/bin/jupyter lab notebooks": "not installed with the package",
    ".venv/bin/pip install jupyterlab": "a package of others",
    "pip install <wheel>": "a file of the reader",
    "sbatch -n1": "SLURM's",
}
"""Commands that nothing here can check, and why."""
EVERY = documented.every()
CHECKED = [command for command in EVERY if " ".join(command.words) not in UNCHECKED]


@pytest.fixture
def checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checks:
    return Checks(tmp_path, monkeypatch)


@pytest.mark.parametrize("command", [command for command in CHECKED if not imports_torch(command)], ids=str)
def test_a_command_is_understood(command, checks):
    checks.check(command)


@pytest.mark.slow
@pytest.mark.parametrize("command", [*filter(imports_torch, CHECKED)], ids=str)
def test_a_command_whose_parser_needs_torch_is_understood(command, checks):
    checks.check(command)


def test_the_pages_have_commands_of_all_kinds():
    assert len(CHECKED) > 80
    assert {command.words[0] for command in CHECKED} >= {"make", "wsss-bench", "python", "pip"}


def test_the_lists_hold_what_the_pages_have():
    shown = {" ".join(command.words) for command in EVERY}
    assert shown >= UNCHECKED.keys()
    for name in EXAMPLES:
        assert any(name in line for line in shown), f"no command names {name}"


WRONG = {
    "make bnech": "No rule to make target",
    "make bench EXPERIMNT=voc": "the Makefile has no",
    "make bench EXPERIMENT=vco": "there is no experiment 'vco'",
    'make plan ARGS="--dryrun"': "unrecognized arguments: --dryrun",
    "wsss-bench tabel mini": "there is no command 'tabel'",
    "wsss-bench table mini --latex": "unrecognized arguments: --latex",
    "wsss-bench table experiments/minni.yaml": "there is no experiments/minni.yaml",
    "wsss-bench bench mini --methods camm": "camm",
    "wsss-bench bench mini --set cam:trainer.max_epoch=1 --on rtx5000": "rtx5000",
    "wsss-bench bench mini --again clam": "clam",
    "wsss-bench data vok --archives DIR": "invalid choice: 'vok'",
    "wsss-bench data voc --archive DIR": "--archive",
    "wsss-bench data voc": "the following arguments are required: --archives",
    "wsss-bench score --masks mine --data vok": "vok",
    "python benchmarks/costs/measur.py": "there is no benchmarks/costs/measur.py",
    "python benchmarks/costs/measure.py --onyl cam": "has no option --onyl",
    "python -m wsss_bnech": "there is no module wsss_bnech",
    "pip install 'wsss_bench[dashbord]'": "has no extra dashbord",
}
WRONG_STAGES = {
    "wsss-bench fit --config runs/stages/<stage>/plan.yaml --trainer.max_epoch 1": "max_epoch",
    "wsss-bench fit --config runs/stages/<stage>/plan.yaml --mask theirs": "--mask",
    "wsss-bench fit --config runs/stages/refine-cam-voc-s0-pamr-.../plan.yaml": "no stage of voc is a refine",
    "wsss-bench refine --config runs/stages/<stage>/plan.yaml --refiner.init_args.foregruond 1": "foregruond",
    "wsss-bench predict --checkpoint last.ckpt --image dog.jpg": "required: --out",
}


def problem(line: str, checks: Checks, capsys: pytest.CaptureFixture[str]) -> str:
    (command,) = documented.commands(f"    {line}\n", "page.md")
    with pytest.raises((Exception, SystemExit)) as caught:
        checks.check(command)
    return f"{caught.value}{capsys.readouterr().err}"


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_command_is_found(line, checks, capsys):
    assert WRONG[line] in problem(line, checks, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("line", WRONG_STAGES)
def test_a_wrong_command_of_a_stage_is_found(line, checks, capsys):
    assert WRONG_STAGES[line] in problem(line, checks, capsys)


PAGE = """
Call `make
plan`, not the word `make`.

    wsss-bench bench mini \\
        --jobs 2       # don't
    wsss-bench data voc|coco [--root DIR] > log.txt
    prediction = load("x")

1. a list

    wsss-bench table mini | head

```python
make = 1
```

```shell
WSSS_DATA=data wsss-bench fit ...
```
"""


def test_commands_are_read_from_a_page():
    found = [
        (command.line, " ".join(command.words), command.whole) for command in documented.commands(PAGE, "")
    ]
    assert found == [
        (5, "wsss-bench bench mini --jobs 2", True),
        (7, "wsss-bench data voc --root DIR", True),
        (7, "wsss-bench data coco --root DIR", True),
        (12, "wsss-bench table mini", True),
        (19, "wsss-bench fit ...", False),
        (2, "make plan", False),
        (3, "make", False),
    ]
