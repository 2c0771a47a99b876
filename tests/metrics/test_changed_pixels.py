"""Which errors of one result are gone in another (`benchmarks/changed_pixels.py`)."""

import sys
from pathlib import Path
from runpy import run_path

import numpy as np
import paths
import pytest
import yaml
from PIL import Image

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


def _stage(folder: Path, root: Path, mask: np.ndarray, split: str = "train") -> Path:
    """An evaluate stage of masks, as far as the script reads it."""
    (folder / "masks").mkdir(parents=True)
    Image.fromarray(mask).save(folder / "masks" / "a.png")
    source = {
        "class_path": "wsss_bench.data.sources.voc.VOC",
        "init_args": {"root": str(root), "vocabulary": "mini"},
    }
    plan = {"source": source, "split": split, "masks": str(folder / "masks"), "scales": "ss", "post": "raw"}
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    return folder


@pytest.mark.parametrize("size", [(8, 1), (500, 375)])
def test_table_and_picture_of_two_stages(size, tmp_path, monkeypatch, capsys) -> None:
    root = tmp_path / "voc"
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / name).mkdir(parents=True)
    for split in ("train", "val"):
        (root / f"ImageSets/Segmentation/{split}.txt").write_text("a\n")
    truth, first, second = (
        np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        for mask in (TRUTH, FIRST, SECOND)
    )
    Image.new("RGB", size).save(root / "JPEGImages/a.jpg")
    Image.fromarray(truth).save(root / "SegmentationClass/a.png")
    stages = [_stage(tmp_path / "one", root, first), _stage(tmp_path / "two", root, second)]
    picture = tmp_path / "changes.png"
    monkeypatch.setattr(sys, "argv", [SCRIPT, *map(str, stages), "--picture", str(picture)])
    run_path(SCRIPT, run_name="__main__")
    leak, miss, wrong = capsys.readouterr().out.splitlines()[1:]
    if size == (8, 1):
        assert leak.split()[-4:] == ["33.33"] * 4
        assert miss.split()[-4:] == ["50.00", "25.00", "25.00", "25.00"]
        assert wrong.split()[-4:] == ["25.00", "25.00", "25.00", "0.00"]
    assert Image.open(picture).size == (144, 5 * 144)

    stages[1] = _stage(tmp_path / "three", root, second, split="val")
    monkeypatch.setattr(sys, "argv", [SCRIPT, *map(str, stages)])
    with pytest.raises(SystemExit, match="train and val"):
        run_path(SCRIPT, run_name="__main__")
