"""The command line: help imports no torch, unknown commands are named, user errors are one line."""

import subprocess
import sys

from wsss_bench.cli import COMMANDS, main


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


def test_a_user_error_is_one_line(tmp_path, capsys):
    assert main(["bench", str(tmp_path / "absent.yaml")]) == 1
    error = capsys.readouterr().err
    assert "absent.yaml" in error
    assert "Traceback" not in error
