"""Which errors of one result are gone in another (`benchmarks/changed_pixels.py`)."""

import sys
from pathlib import Path
from runpy import run_path

import numpy as np
import paths
import pytest
from PIL import Image

from wsss_bench.artifacts.files import write_manifest

SCRIPT = str(paths.ROOT / "benchmarks" / "changed_pixels.py")
# columns: right in both, leak gone, new leak, miss filled, new miss, wrong class mended, miss becomes wrong
# class, border
TRUTH = np.asarray([[0, 0, 0, 1, 1, 1, 1, 255]], np.uint8)
FIRST = np.asarray([[0, 2, 0, 0, 1, 2, 0, 2]], np.uint8)
SECOND = np.asarray([[0, 0, 1, 1, 0, 1, 2, 0]], np.uint8)


def test_errors_are_counted_by_kind() -> None:
    counted = run_path(SCRIPT)["changes"](TRUTH, FIRST, SECOND)
    assert {name: value.tolist() for name, value in counted._asdict().items()} == {
        "possible": [3, 4, 4],
        "before": [1, 2, 1],
        "after": [1, 1, 1],
        "gone": [1, 1, 1],
        "new": [1, 1, 0],
    }


def _stage(folder: Path, root: Path, mask: np.ndarray, kind: str = "evaluate", split: str = "train") -> Path:
    """A stage of masks, as far as the script reads it."""
    (folder / "masks").mkdir(parents=True)
    Image.fromarray(mask).save(folder / "masks" / "a.png")
    source = {
        "class_path": "wsss_bench.data.sources.voc.VOC",
        "init_args": {"root": str(root), "vocabulary": "mini"},
    }
    config = {"source": source, "split": split, "masks": str(folder / "masks"), "scales": "ss", "post": "raw"}
    write_manifest(folder, {"kind": kind, "config": config})
    return folder


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: Path | str) -> None:
    monkeypatch.setattr(sys, "argv", [SCRIPT, *map(str, arguments)])
    run_path(SCRIPT, run_name="__main__")


def _world(root: Path, truth: np.ndarray) -> Path:
    """One image in the layout of VOC, in the splits train and val."""
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / name).mkdir(parents=True)
    for split in ("train", "val"):
        (root / f"ImageSets/Segmentation/{split}.txt").write_text("a\n")
    Image.new("RGB", truth.shape[::-1]).save(root / "JPEGImages/a.jpg")
    Image.fromarray(truth).save(root / "SegmentationClass/a.png")
    return root


@pytest.mark.parametrize("size", [(8, 1), (500, 375)])
def test_table_and_picture_of_two_stages(size, tmp_path, monkeypatch, capsys) -> None:
    truth, first, second = (
        np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        for mask in (TRUTH, FIRST, SECOND)
    )
    root = _world(tmp_path / "voc", truth)
    picture = tmp_path / "changes.png"
    stages = _stage(tmp_path / "one", root, first), _stage(tmp_path / "two", root, second)
    _run(monkeypatch, *stages, "--picture", picture)
    leak, miss, wrong = capsys.readouterr().out.splitlines()[1:]
    if size == (8, 1):
        assert leak.split()[-4:] == ["33.33"] * 4
        assert miss.split()[-4:] == ["50.00", "25.00", "25.00", "25.00"]
        assert wrong.split()[-4:] == ["25.00", "25.00", "25.00", "0.00"]
    assert Image.open(picture).size == (144, 5 * 144)


def test_an_image_without_objects_has_no_misses(tmp_path, monkeypatch, capsys) -> None:
    root = _world(tmp_path / "voc", np.zeros_like(TRUTH))
    _run(monkeypatch, _stage(tmp_path / "one", root, FIRST), _stage(tmp_path / "two", root, SECOND))
    assert capsys.readouterr().out.splitlines()[2].split()[-4:] == ["0.00"] * 4


def test_what_cannot_be_compared_is_named(tmp_path, monkeypatch) -> None:
    root = _world(tmp_path / "voc", TRUTH)
    one = _stage(tmp_path / "one", root, FIRST)
    for other, message in (
        (tmp_path / "absent", "stage did not complete"),
        (_stage(tmp_path / "refined", root, SECOND, kind="refine"), "kind refine; name evaluate stages"),
        (_stage(tmp_path / "val", root, SECOND, split="val"), "scored train of .* val of .*one split"),
    ):
        with pytest.raises(SystemExit, match=message):
            _run(monkeypatch, one, other)
    (one / "masks/a.png").unlink()
    with pytest.raises(SystemExit, match="mask"):
        _run(monkeypatch, one, one)
