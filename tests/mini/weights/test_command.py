"""`wsss-bench pretrain` writes weights with a record of how they were made."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from wsss_bench.mini.weights import command
from wsss_bench.mini.weights.evaluation_images import make_evaluation_images
from wsss_bench.mini.weights.record import changed_files, read_records
from wsss_bench.mini.weights.web_images import Web, make_web_images


@pytest.mark.slow
@pytest.mark.parametrize(("version", "web"), [(None, "typical"), (2, "typical"), (1, "broad")])
def test_a_run_writes_weights_and_their_record(
    version: int | None, web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, int, str]] = []

    def few_images(random_seed: int, count: int, processes: int, web: Web):
        calls.append((random_seed, count, web.name))
        return make_web_images(random_seed, 40, web=web)

    monkeypatch.setattr(command, "make_web_images", few_images)
    options = ["--version", str(version)] if version else []
    assert command.main(["resnet", "--out", str(tmp_path), "--seed", "3", "--steps", "2", *options]) == 0
    record = read_records(tmp_path)["resnet"]
    made = f"wsss-bench pretrain resnet --seed 3 --steps 2 --version {version or 2}"
    assert record["recipe"]["command"] == made
    assert record["recipe"]["web"] == web
    assert record["recipe"]["samples"] == 128
    assert 0 <= record["measurements"]["accuracy"] <= 1
    assert changed_files(tmp_path, "resnet") == []
    # trained on the images of random seed 3, measured on those of another one
    assert calls == [(3, 24_000, web), (4, 1500, web)]


@pytest.mark.slow
def test_report_measures_again_and_finds_a_changed_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        command, "make_web_images", lambda seed, count, processes, web: make_web_images(seed, 40, web=web)
    )
    few = partial(make_evaluation_images, count=20)
    monkeypatch.setattr(
        command, "make_evaluation_images", lambda seed, stream, count, processes: few(seed, stream)
    )
    command.main(["vit", "--out", str(tmp_path), "--steps", "1"])
    assert command.main(["report", "--out", str(tmp_path)]) == 0
    (tmp_path / "vit.json").write_text((tmp_path / "vit.json").read_text() + "\n")
    capsys.readouterr()
    assert command.main(["report", "--out", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "vit.json: sha256 is not the recorded one" in printed
    assert "run `wsss-bench pretrain vit --seed 0 --steps 1 --version 2` again" in printed


def test_report_without_weights_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no measurements.json; make weights with"):
        command.main(["report", "--out", str(tmp_path)])
