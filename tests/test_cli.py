"""The command line: help imports no torch, unknown commands are named, user errors are one line."""

import re
import subprocess
import sys

import pytest

from wsss_bench.cli import COMMANDS, main
from wsss_bench.stage_help import SHORT


def test_help_lists_every_command_without_torch():
    code = (
        "import sys; from wsss_bench.cli import main; main(['--help']); "
        "sys.exit(3 if 'torch' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)


def test_an_unknown_command_names_the_known_ones(capsys):
    assert main(["train"]) == 2
    assert "expected one of data, pretrain, fit" in capsys.readouterr().err
    assert main(["tabel"]) == 2
    assert "did you mean 'table'?" in capsys.readouterr().err


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "pretrain"])  # which makers use
def test_the_help_of_a_command_names_it_and_imports_no_torch(command):
    slow = {"torch", "lightning", "transformers", "timm", *(["scipy"] if command == "data" else [])}
    code = (
        "import sys; from wsss_bench.cli import main\n"
        f"try: main([{command!r}, '--help'])\n"
        "except SystemExit: pass\n"
        f"sys.exit(3 if {slow} & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: wsss-bench {command} ")


@pytest.mark.slow
@pytest.mark.parametrize("command", SHORT)
def test_the_short_help_has_the_options_that_there_are(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help_all"])
    everything = capsys.readouterr().out
    assert everything.startswith(f"usage: wsss-bench {command} ")
    known = set(re.findall(r"--([\w.]+)", everything))
    shown = set(re.findall(r"--([\w.]+\w)", SHORT[command])) - {"help_all", "model.KEY"}
    groups = ("model", "data", "trainer", "inference", "crf")
    assert {name.removesuffix(".KEY") for name in shown if name != "KEY"} - set(groups) <= known
    own = {name for name in known if "." not in name and not name.startswith(("print_", "help"))}
    assert own <= {name.removesuffix(".KEY") for name in shown}


@pytest.mark.slow
def test_the_help_of_single_images_is_that_of_their_own_parser(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["predict", "--image", "--help"])
    assert capsys.readouterr().out.startswith("usage: wsss-bench predict --image ")


def test_a_misspelt_option_is_named_with_the_nearest_one(capsys):
    for option, nearest in (("--jbos", "--jobs"), ("--job", "--jobs"), ("--dryrun", "--dry-run")):
        with pytest.raises(SystemExit, match="2"):
            main(["bench", "experiments/mini.yaml", option, "3"])
        error = capsys.readouterr().err
        assert f"unrecognized arguments: {option}" in error
        assert f"did you mean {nearest}?" in error


def test_a_user_error_is_one_line(tmp_path, capsys):
    assert main(["bench", str(tmp_path / "absent.yaml")]) == 1
    error = capsys.readouterr().err
    assert "absent.yaml" in error
    assert "Traceback" not in error
