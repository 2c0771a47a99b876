"""The notebooks: clean in the repository, and right on experiments that are unusual or half done."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import write_voc
from executed_notebooks import FOLDER, execute
from PIL import Image

from wsss_bench.artifacts.files import is_complete, write_bytes, write_manifest, write_mask
from wsss_bench.artifacts.layout import CURVES
from wsss_bench.artifacts.palette import voc_palette
from wsss_bench.artifacts.pruning import prune_stage
from wsss_bench.artifacts.seeds import SeedShards
from wsss_bench.cli import main
from wsss_bench.plan.plan import Plan, Stage
from wsss_bench.plan.planner import make_plan
from wsss_bench.types import ScoreMaps

PALETTE = np.frombuffer(voc_palette(), np.uint8).reshape(256, 3)
SIZES = ((30, 48), (44, 32), (36, 36))
CLASSES = 80


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_outputs_are_cleared(path):
    for cell in json.loads(path.read_text())["cells"]:
        assert not cell.get("outputs"), f"cell {cell['id']} has outputs; clear them before a commit"
        assert cell.get("execution_count") is None


def write_photographs(root: Path) -> dict[str, np.ndarray]:
    """Eight training images and four others, of three sizes and 80 classes; their masks by image id."""
    (root / "images").mkdir(parents=True)
    (root / "classes.txt").write_text("\n".join(f"class{c}" for c in range(CLASSES)))
    rows, masks = ["image,classes,split"], {}
    for k in range(12):
        size = SIZES[k % len(SIZES)]
        image_id = f"{k:02}"
        mask = np.zeros(size, np.uint8)
        mask[5:20, 8:24] = CLASSES - k
        masks[image_id] = mask
        pixels = np.full((*size, 3), 100, np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{image_id}.png")
        write_mask(root / "masks", image_id, mask)
        rows.append(f"{image_id}.png,class{CLASSES - k - 1},{'train' if k < 8 else 'val'}")
    (root / "labels.csv").write_text("\n".join(rows))
    return masks


def write_experiment(project: Path, methods: list[str], source: dict, **protocol: object) -> Plan:
    """An experiment `toy` on the data set `toy`, and its plan."""
    (project / "configs/data").mkdir(parents=True)
    data = {"data": {"source": source}, "protocol": {"dataset": "toy", **protocol}}
    (project / "configs/data/toy.yaml").write_text(yaml.safe_dump(data))
    experiment = {"methods": methods, "data": ["toy"], "refiners": ["threshold"]}
    (project / "toy.yaml").write_text(yaml.safe_dump(experiment))
    return make_plan(Path("toy"), Path("runs"))


def complete(plan: Plan, kind: str, title: str) -> Stage:
    """Mark a stage as complete, and run the evaluate stages that had waited for it."""
    (stage,) = (one for one in plan.stages.values() if (one.kind, one.title) == (kind, title))
    write_manifest(stage.path, {"fingerprint": stage.fingerprint, "kind": kind, "title": title})
    for scoring in plan.stages.values():
        read = scoring.inputs.values()
        if (
            scoring.kind == "evaluate"
            and stage.fingerprint in read
            and all(is_complete(plan.stages[key].path) for key in read)
        ):
            scoring.write_plan()
            assert main(scoring.arguments) == 0
    return stage


def path_of(plan: Plan, kind: str, title: str) -> Path:
    return next(one.path for one in plan.stages.values() if (one.kind, one.title) == (kind, title))


def shows(picture: np.ndarray, value: int) -> bool:
    """Whether a picture has an area with the colour of a mask value."""
    return int((picture == PALETTE[value]).all(axis=2).sum()) > 50


@pytest.mark.slow
def test_half_an_experiment_with_80_classes_and_images_of_several_sizes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    masks = write_photographs(tmp_path / "photos")
    source = {"class_path": "Folder", "init_args": {"root": "photos", "masks": "masks"}}
    counts = {"train": 8, "val": 4}
    plan = write_experiment(
        tmp_path, ["cam", "supervised"], source, train_split="train", eval_splits=["val"], counts=counts
    )
    write_bytes(path_of(plan, "train", "cam-toy-s0") / CURVES, b"step,epoch,train/loss\n1,0,0.9\n2,0,0.4\n")
    complete(plan, "train", "cam-toy-s0")
    with SeedShards(path_of(plan, "seed", "cam-toy-s0") / "seeds") as writer:
        for image_id, mask in list(masks.items())[:8]:
            scores = (0.9 * (mask > 0)).astype(np.float16)[None]
            writer.write(ScoreMaps(image_id, np.unique(mask[mask > 0]), scores, mask.shape))
    complete(plan, "seed", "cam-toy-s0")
    others = tmp_path / "runs/stages/train-other-toy-s0-00000000"  # of another experiment
    write_bytes(others / CURVES, b"step,epoch,train/loss\n1,0,0.9\n")
    write_manifest(others, {"fingerprint": "0", "title": "other-toy-s0"})

    shown = execute("look_at_results", tmp_path, WSSS_EXPERIMENT="toy")
    listed = shown.text("plan")
    assert listed.startswith(f"toy: 3 of {len(plan.stages)} stages are complete")
    for stage in plan.stages.values():
        assert (f"new       {stage.path.name}" in listed) == (stage.state == "new")
    assert "100.0" in shown.text("table")
    assert len(shown.pictures("thresholds")) == 1
    assert len(shown.pictures("curves")) == 1
    (figure,) = shown.pictures("pictures")  # no segmentation yet
    assert shows(figure, CLASSES)
    assert figure.shape[1] < 1200


@pytest.mark.slow
def test_segmentations_alone_on_data_without_background(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_voc(tmp_path / "voc")
    arguments = {"root": "voc", "vocabulary": "mini", "background": False}
    counts = {"val": 5, "train": 10}
    plan = write_experiment(
        tmp_path, ["clip_zeroshot"], {"class_path": "VOC", "init_args": arguments},
        eval_splits=["val", "train"], counts=counts,
    )  # fmt: skip
    for split in ("val", "train"):
        for file in (tmp_path / "voc/SegmentationClass").glob(f"{split}_*.png"):
            mask = np.full_like(np.asarray(Image.open(file)), 3)
            for kind, readout in (("predict", "ss-raw"), ("crf", "ss-crf")):
                stage = path_of(plan, kind, f"clip_zeroshot-toy-s0-{split}")
                write_mask(stage / "masks" / readout, file.stem, mask)
        complete(plan, "crf", f"clip_zeroshot-toy-s0-{split}")
        stage = complete(plan, "predict", f"clip_zeroshot-toy-s0-{split}")
    prune_stage(stage.path, "masks")  # those of `train`

    shown = execute("look_at_results", tmp_path, WSSS_EXPERIMENT="toy")
    assert shown.text("plan").startswith("toy: 6 of 6 stages are complete")
    assert "no seeds are scored" in shown.text("thresholds")
    assert "no training has begun" in shown.text("curves")
    (figure,) = shown.pictures("pictures")
    assert shows(figure, 3)


@pytest.mark.slow
def test_nothing_is_there_yet(tmp_path):
    shown = execute("look_at_results", tmp_path, WSSS_EXPERIMENT="mini", WSSS_RUNS="nowhere")
    assert shown.text("plan").startswith("mini: 0 of ")
    assert "Nothing is scored yet" in shown.text("table")
    assert "no seeds and no masks yet" in shown.text("products")


@pytest.mark.slow
def test_a_method_is_added_and_compared_with_cam(tmp_path):
    shown = execute("add_a_method", tmp_path, XDG_CACHE_HOME=str(tmp_path), TMPDIR=str(tmp_path))
    assert "the method meets the contract" in shown.text("contract")
    folder = Path(shown.text("folder").strip())
    assert tmp_path in folder.parents
    rows = json.loads((folder / "runs/pooling/leaderboard.json").read_text())["rows"]
    assert {row["method"] for row in rows} == {"cam", "lse", "lse-r2"}
    assert len(shown.pictures("panels")) == 2
