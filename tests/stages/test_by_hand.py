"""Stages as people run them to find a mistake: with a breakpoint, `--print_config`, a wrong file."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import suppress

import pytest
import yaml
from paths import ROOT
from planned_stages import evaluate_config, fit_config, plan_stage, refine_config, seed_config

from wsss_bench.cli import main

pytestmark = pytest.mark.slow

OWN = """
from wsss_bench.methods.cam import CAM
class Stopping(CAM):
    def training_loss(self, batch):
        breakpoint()
        return super().training_loss(batch)
"""


@pytest.fixture
def stopping(voc_root, tmp_path, monkeypatch):
    """A planned training of a method with a breakpoint in its loss, in the working directory."""
    (tmp_path / "own_with_breakpoint.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    config = fit_config(voc_root)
    config["model"]["class_path"] = "own_with_breakpoint.Stopping"
    return plan_stage(tmp_path / "runs", "train", config)


def talk(command, answers):
    """Run a command on a terminal of its own, with answers for the debugger; returns status and output."""
    process, terminal = pty.fork()
    if process == 0:
        os.execv(command[0], command)
    output, read = b"", 0
    with suppress(OSError):  # the end of a terminal
        while piece := os.read(terminal, 65536):
            output += piece
            if output[read:].endswith(b"(Pdb) ") and answers:
                os.write(terminal, answers.pop(0).encode() + b"\n")
                read = len(output)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), output.decode()


def test_a_breakpoint_of_a_stage_by_hand(stopping, tmp_path):
    command = [sys.executable, "-m", "wsss_bench", *stopping.arguments, "--out", str(tmp_path / "own")]
    status, output = talk(
        [*command, "--trainer.limit_train_batches=2", "--trainer.max_epochs=1"],
        ["p 'batch', tuple(batch.image.shape)", "continue", "continue"],
    )
    assert "('batch', (4, 3, 32, 32))" in output
    assert output.count("-> return super().training_loss(batch)") == 2
    assert status == 0, output
    assert (tmp_path / "own" / "stage.json").is_file()
    assert not (stopping.path / "stage.json").exists()


def test_a_log_has_no_colours_and_says_where_to_debug(stopping):
    """Without a terminal, as in a bench, a debugger ends at once."""
    command = [sys.executable, "-m", "wsss_bench", *stopping.arguments]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 1, done.stdout
    assert "wandb: Run data is saved" in done.stdout
    assert "\x1b" not in done.stdout
    assert "run the stage by hand, as docs/debugging.md says" in done.stdout


@pytest.mark.parametrize("kind", ["train", "seed", "refine", "evaluate"])
def test_print_config_needs_no_data_and_writes_nothing(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = {
        "train": lambda: fit_config(tmp_path / "absent"),
        "seed": lambda: seed_config(tmp_path / "absent", None),
        "refine": lambda: refine_config(tmp_path / "absent", tmp_path / "absent"),
        "evaluate": lambda: evaluate_config(tmp_path / "absent", tmp_path / "absent"),
    }[kind]()
    stage = plan_stage(tmp_path / "runs", kind, config)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit, match="0"):
        main([*stage.arguments, "--print_config"])
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["out"] == str(stage.path)
    if "trainer" in config:
        assert printed["model"]["init_args"]["optim"]["betas"] == [0.9, 0.999]  # a default value
    assert sorted(tmp_path.rglob("*")) == before


def test_print_config_leaves_integers_what_they_are(tmp_path):
    """For `limit_val_batches`, 1 is one batch and 1.0 all of them. In a process of its own: what was imported
    before decides it (`keep_integers`).
    """
    config = fit_config(tmp_path / "absent")
    config["trainer"]["limit_val_batches"] = 1
    stage = plan_stage(tmp_path / "runs", "train", config)
    command = [sys.executable, "-m", "wsss_bench", *stage.arguments, "--print_config"]
    printed = yaml.safe_load(subprocess.run(command, capture_output=True, check=True).stdout)
    assert type(printed["trainer"]["limit_val_batches"]) is int


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "--config", "{}"], "name a YAML file"),
        (["fit", "-c", "{}/empty.yaml"], "the file is empty"),
        (["refine", "--config", "{}/empty.yaml"], "the file is empty"),
        (["predict", "{}/empty.yaml"], "a file is given with --config FILE"),
        (["fit", "--config", "{}/one.yaml", "--config", "{}/absent.yaml"], "File does not exist"),
        (["fit", "--config", "{}/one.yaml", "--ouut", "x"], "has no option 'ouut'"),
        (["fit", "--config", "{}/one.yaml", "--trainer.max_epoch", "1"], "has no option 'trainer.max_epoch'"),
        (["fit", "--config", "{}/two.yaml"], "trainer has no option 'max_epoch'; did you mean 'max_epochs'?"),
    ],
    ids=lambda value: "",
)
def test_a_wrong_file_or_option_is_one_sentence(tmp_path, capsys, arguments, message):
    (tmp_path / "empty.yaml").touch()
    (tmp_path / "one.yaml").write_text("seed_everything: 1\n")
    (tmp_path / "two.yaml").write_text("trainer: {max_epoch: 1}\n")
    assert main([argument.format(tmp_path) for argument in arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_of_two_files_the_later_one_wins(voc_root, tmp_path, capsys):
    for name, epochs in (("one", 2), ("two", 3)):
        config = fit_config(voc_root) | {"out": str(tmp_path / "out")}
        config["trainer"]["max_epochs"] = epochs
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(SystemExit, match="0"):
        main(
            ["fit", "--config", f"{tmp_path}/one.yaml", "--config", f"{tmp_path}/two.yaml", "--print_config"]
        )
    assert "max_epochs: 3" in capsys.readouterr().out
