"""`benchmarks/gpu.py`, on a CPU: a figure where there is one to have, and a reason elsewhere."""

import subprocess
import sys

import paths
import torch

SCRIPT = str(paths.ROOT / "benchmarks" / "gpu.py")
ON_CPU = ("--data", "mini", "--accelerator", "cpu", "--precision", "32-true", "--repeats", "1")


def run(*arguments: str, source: str = SCRIPT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, source, *arguments], capture_output=True, text=True, check=False)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("| ").split("|")]


def test_a_method_that_trains_and_one_that_does_not_have_their_figures():
    done = run(*ON_CPU, "--only", "methods/c")
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    head, rows = cells(lines[1]), {cells(line)[0]: cells(line) for line in lines[3:]}
    assert {"cam", "clip_zeroshot"} <= set(rows)
    cam = dict(zip(head, rows["cam"], strict=True))
    assert (cam["images"], cam["crop"], cam["GiB"], cam["ms a segmentation"]) == ("16", "96", "-", "-")
    milliseconds = float(cam["ms a step"])
    assert abs(float(cam["images/s"]) * milliseconds / 16e3 - 1) < 0.01  # images/s are rounded
    assert float(cam["TFLOP/s"]) > 0
    zero_shot = dict(zip(head, rows["clip_zeroshot"], strict=True))
    assert zero_shot["ms a step"] == "-"
    assert float(zero_shot["ms a segmentation"]) > 0


def test_networks_of_refiners_have_their_step():
    done = run(*ON_CPU, "--only", "refine/")
    assert done.returncode == 0, done.stderr[-2000:]
    rows = {cells(line)[0]: cells(line) for line in done.stdout.splitlines()[3:]}
    assert set(rows) >= {"irn", "psa"}
    for row in rows.values():
        assert float(row[3]) > 0, row
        assert row[-2:] == ["-", "-"]


def test_a_network_that_fails_has_its_reason_and_the_others_their_figures(tmp_path):
    broken = (
        "import sys, runpy; sys.argv[0] = sys.argv[1]; del sys.argv[1]\n"
        "from wsss_bench.methods.cam import CAM\n"
        "def fail(*_): raise ValueError('no memory left\\nof this device')\n"
        "CAM.training_loss = fail\n"
        f"runpy.run_path({SCRIPT!r}, run_name='__main__')\n"
    )
    (tmp_path / "broken.py").write_text(broken)
    done = run(SCRIPT, *ON_CPU, "--only", "cam", source=str(tmp_path / "broken.py"))
    assert done.returncode == 0, done.stderr[-2000:]
    rows = {cells(line)[0]: cells(line) for line in done.stdout.splitlines()[3:]}
    assert "no memory left" in rows["cam"][1]
    assert float(rows["clims_camera_ready"][3]) > 0


def test_without_a_gpu_it_says_so():
    if torch.cuda.is_available():
        return
    done = run()
    assert done.returncode == 1
    assert "torch sees no GPU" in done.stderr
    assert "wsss-bench doctor" in done.stderr
