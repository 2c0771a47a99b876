"""Published read-outs through the stages: made with the others, resumed with them, scored as rows."""

import json

import numpy as np
import pytest
import yaml

from wsss_bench.artifacts.files import MANIFEST, read_mask
from wsss_bench.artifacts.layout import PROBABILITIES
from wsss_bench.artifacts.metrics import METRICS
from wsss_bench.artifacts.probabilities import readouts_in
from wsss_bench.crf.densecrf import available
from wsss_bench.stages import evaluate, predict

pytestmark = pytest.mark.slow

SOURCE = {
    "class_path": "wsss_bench.data.sources.voc.VOC",
    "init_args": {"root": "${WSSS_DATA}/mini/voc", "vocabulary": "mini"},
}
READOUTS = {
    "plain": {},
    "squashed": {"squash": 64, "scales": [1.0, 1.5], "remainder": "drop", "mirror": "sum", "fuse": "max"},
    "with-crf": {"crf": True},
}


def config(out, **changes):
    return {
        "seed_everything": 0,
        "model": {
            "class_path": "wsss_bench.methods.clip_zeroshot.CLIPZeroShot",
            "init_args": {"clip": "package:mini/clip", "templates": "mini"},
        },
        "data": {"source": SOURCE, "view": "image"},
        "trainer": {"accelerator": "cpu", "devices": 1},
        "product": "segmentation",
        "split": "few",
        "inference": {"pad_to": 8},
        "scales": [1.0],
        "crf": True,
        "readouts": READOUTS,
        "out": str(out),
        **changes,
    }


def run(stage, tmp_path, content):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    assert stage.main(["--config", str(path)]) == 0


def test_published_readouts_are_made_resumed_and_scored(tmp_path, mini_data):
    out = tmp_path / "masks"
    run(predict, tmp_path, config(out))
    made = ["plain", "squashed"]
    folders = {name: out / "masks" / f"own-{name}" for name in made}
    assert sorted(path.name for path in (out / "masks").glob("own-*")) == sorted(
        path.name for path in folders.values()
    )
    files = {name: sorted(folder.glob("*.png")) for name, folder in folders.items()}
    assert {len(found) for found in files.values()} == {4}
    for ours, theirs in zip(sorted((out / "masks" / "ss-raw").glob("*.png")), files["plain"], strict=True):
        np.testing.assert_array_equal(read_mask(ours), read_mask(theirs))
    assert any(
        (read_mask(a) != read_mask(b)).any() for a, b in zip(files["plain"], files["squashed"], strict=True)
    )

    lost = files["squashed"][1]
    before = lost.read_bytes()
    lost.unlink()
    (out / MANIFEST).unlink()
    run(predict, tmp_path, config(out))
    assert lost.read_bytes() == before

    scored = {
        "source": SOURCE,
        "masks": str(out),
        "split": "few",
        "dataset": "mini",
        "out": str(tmp_path / "s"),
    }
    run(evaluate, tmp_path, scored)
    rows = json.loads((tmp_path / "s" / METRICS).read_text())["rows"]
    own = {row["post"]: row for row in rows if row["scales"] == "own"}
    assert set(own) == set(made)
    assert own["squashed"]["protocol"] == "mini-few/n4/labels-none/own/squashed/thr-na/last"
    assert [row["headline"] for row in rows if row["scales"] == "own"] == [False] * len(made)
    (single,) = (row for row in rows if (row["scales"], row["post"]) == ("ss", "raw"))
    assert own["plain"]["miou"] == single["miou"]


def test_one_scale_without_crf_is_all_that_is_made_where_no_more_is_asked_for(tmp_path, mini_data):
    """A published read-out has its probabilities all the same; the masks are those of a prediction of all."""
    few, whole = tmp_path / "few", tmp_path / "whole"
    run(predict, tmp_path, config(few, scales=[], crf=False))
    run(predict, tmp_path, config(whole))
    names = {path.name for path in (few / "masks").iterdir()}
    assert names == {path.name for path in (whole / "masks").iterdir()} - {"ms-raw"}
    readouts = [readouts_in(stage / PROBABILITIES) for stage in (few, whole)]
    assert readouts == ([["own-with-crf"], ["ss", "ms", "own-with-crf"]] if available() else [[], []])
    for path in (few / "masks").rglob("*.png"):
        same = whole / path.relative_to(few)
        np.testing.assert_array_equal(read_mask(path), read_mask(same))
    before = {path: path.stat().st_mtime_ns for path in few.rglob("*.png")}
    run(predict, tmp_path, config(few, scales=[], crf=False))  # complete: nothing is made again
    assert before == {path: path.stat().st_mtime_ns for path in few.rglob("*.png")}


def test_batches_write_the_masks_of_single_images(tmp_path, mini_data):
    alone, batches = tmp_path / "alone", tmp_path / "batches"
    run(predict, tmp_path, config(alone))
    run(predict, tmp_path, config(batches, inference={"pad_to": 8, "batch_size": 4}))
    files = sorted(path.relative_to(alone) for path in alone.rglob("*.png"))
    assert files == sorted(path.relative_to(batches) for path in batches.rglob("*.png"))
    assert len(files) >= 4 * 4
    for file in files:
        assert np.mean(read_mask(alone / file) != read_mask(batches / file)) < 1e-3, file


def test_seeds_have_no_published_readouts(tmp_path, mini_data):
    with pytest.raises(ValueError, match="readouts apply to product `segmentation`"):
        run(predict, tmp_path, config(tmp_path / "seeds", product="seed"))
