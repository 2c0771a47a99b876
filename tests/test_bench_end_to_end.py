"""The whole benchmark on the small mini world: stages, files, table, a second run, and the notebooks."""

import csv
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import paths
import pytest
import yaml
from executed_notebooks import execute
from PIL import Image

from wsss_bench.artifacts.files import read_manifest
from wsss_bench.crf.densecrf import available

pytestmark = pytest.mark.slow

ROOT = paths.ROOT


@pytest.fixture(scope="module")
def bench(tmp_path_factory, mini_data):
    """A folder with configs for part of the small mini world (20 / 4 / 4 images, one epoch), benched once."""
    folder = tmp_path_factory.mktemp("bench")
    shutil.copytree(ROOT / "configs", folder / "configs")
    data = yaml.safe_load((ROOT / "configs/data/mini.yaml").read_text())
    data["protocol"] |= {"train_split": "few_train", "eval_splits": ["few", "few_ood"], "holdout": 5}
    data["protocol"]["counts"] = {"few_train": 20, "few": 4, "few_ood": 4}
    data["data"]["train_split"] = "few_train"
    data["protocol"]["prepare"] += ["--size", "small"]
    (folder / "configs/data/mini.yaml").write_text(yaml.safe_dump(data))
    short = {"trainer": {"max_epochs": 1}}
    experiment = yaml.safe_load((ROOT / "experiments/mini_refiners.yaml").read_text())
    experiment |= {"methods": ["cam", "clims", "clip_zeroshot", "supervised"], "random_seeds": [0]}
    experiment["override"] = {"cam": short, "clims": short, "supervised": short}
    for name in ("refine/irn.mini.yaml", "segmenters/deeplabv2.mini.yaml"):
        content = yaml.safe_load((ROOT / "configs" / name).read_text())
        content.get("network", content)["trainer"]["max_epochs"] = 1
        (folder / "configs" / name).write_text(yaml.safe_dump(content))
    (folder / "small.yaml").write_text(yaml.safe_dump(experiment))
    done = run(folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder, done


def run(folder, *options):
    command = [
        sys.executable,
        "-m",
        "wsss_bench",
        "bench",
        str(folder / "small.yaml"),
        "--runs",
        str(folder / "runs"),
    ]
    command += ["--configs", str(folder / "configs"), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=500)


def rows(folder):
    with open(folder / "runs/small/leaderboard.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_every_product_of_every_method_is_in_the_table(bench):
    folder, done = bench
    found = {(row["method"], row["product"], row["split"]) for row in rows(folder)}
    multi_stage = {("seed", "few_train"), ("pseudo_mask", "few_train")}
    if available():  # without the CRF there are no labels for IRNet, so no masks to train on
        multi_stage |= {("segmentation", "few"), ("segmentation", "few_ood")}
    assert found == {
        *((method, *product) for method in ("cam", "clims") for product in multi_stage),
        ("clip_zeroshot", "seed", "few_train"),
        ("clip_zeroshot", "segmentation", "few"),
        ("clip_zeroshot", "segmentation", "few_ood"),
        ("supervised", "segmentation", "few"),
        ("supervised", "segmentation", "few_ood"),
    }
    written = (folder / "runs/small/leaderboard.md").read_text()
    _, _, after = done.stdout.partition("Seeds on mini few_train: ")
    shown, _, _ = after.partition("all columns, protocols and differences: ")
    for method in ("cam", "clims", "clip_zeroshot", "supervised"):
        assert method in written
        assert method in shown
    assert max(map(len, shown.splitlines())) <= 118


def test_every_figure_carries_its_protocol(bench):
    folder, _ = bench
    protocols = {row["protocol"] for row in rows(folder)}
    assert "mini-few_train/n20/labels-given/ms/raw/thr-fixed-0.25/last" in protocols
    assert "mini-few_train/n15/labels-given/ms/raw/thr-heldout/last" in protocols
    readouts = ("raw", "crf") if available() else ("raw",)
    for post in readouts:
        assert {
            f"mini-few/n4/labels-none/{scales}/{post}/thr-na/last" for scales in ("ss", "ms")
        } <= protocols
    assert all(0 <= float(row["miou_mean"]) <= 100 and float(row["seconds"]) > 0 for row in rows(folder))


@pytest.mark.skipif(not available(), reason="without the CRF there are no labels for IRNet")
def test_a_multi_stage_method_leaves_every_artifact(bench):
    folder, _ = bench
    stages = {path.name.rsplit("-", 1)[0]: path for path in (folder / "runs/stages").iterdir()}
    manifest = read_manifest(stages["affinity-clims-mini-s0-irn"])
    assert (manifest["kind"], manifest["config"]["masks"]) == (
        "affinity",
        str(stages["refine-clims-mini-s0-irn-labels"]),
    )
    for name in ("refine-clims-mini-s0-irn", "refine-cam-mini-s0-pamr"):
        masks = list((stages[name] / "masks").glob("*.png"))
        assert len(masks) == 20
        with Image.open(masks[0]) as image:  # as any other code base would
            assert image.mode == "P"
            assert image.getpalette()[3:6] == [128, 0, 0]
            assert set(np.unique(image)) <= {*range(9), 255}
    for kind, post in (("predict", "raw"), ("crf", "crf")):
        masks = stages[f"{kind}-clims-mini-s0-irn-deeplabv2-few"] / "masks"
        assert {path.name for path in masks.iterdir()} == {f"ss-{post}", f"ms-{post}"}
        assert len(list(masks.rglob("*.png"))) == 8
    assert list((stages["predict-clims-mini-s0-irn-deeplabv2-few"] / "probabilities").iterdir())
    log = (stages["train-clims-mini-s0"] / "log.txt").read_text()
    assert "warm start" in log


def test_refining_by_the_threshold_gives_the_seeds_own_figure(bench):
    folder, _ = bench
    cam = [row for row in rows(folder) if row["method"] == "cam"]
    seed = next(row for row in cam if row["protocol"].endswith("raw/thr-fixed-0.25/last"))
    refined = next(row for row in cam if "/threshold/" in row["protocol"])
    assert float(refined["miou_mean"]) == pytest.approx(float(seed["miou_mean"]), abs=1e-9)


def test_a_second_run_computes_nothing_and_prints_the_same_table(bench):
    folder, first = bench
    before = {path: path.stat().st_mtime_ns for path in (folder / "runs/stages").rglob("*") if path.is_file()}
    again = run(folder)
    assert again.returncode == 0
    tables = [done.stdout[done.stdout.index("Seeds on mini few_train: ") :] for done in (first, again)]
    assert tables[0] == tables[1]
    assert {
        path: path.stat().st_mtime_ns for path in (folder / "runs/stages").rglob("*") if path.is_file()
    } == before


@pytest.mark.skipif(not available(), reason="without the CRF there are fewer pictures")
def test_the_page_shows_the_images_of_all_stages(bench):
    folder, done = bench
    index = folder / "runs/small/report/index.html"
    assert f"page: {index}\n" in done.stdout
    (data,) = re.findall(r'id="data-pictures">(.*?)</script>', index.read_text())
    train, val = json.loads(data)
    assert [method["name"] for method in train["methods"]] == ["cam", "clims", "clip_zeroshot"]
    assert (len(train["images"]), len(val["images"])) == (20, 4)
    for image in train["images"]:
        assert (index.parent / "pictures" / image["masks"]["file"]).is_file()
        for cells in image["cells"][:2]:  # of CAM and CLIMS: seeds and the masks of all refiners
            assert all("mask" in cell for cell in cells)
        threshold = train["columns"].index("threshold")
        assert image["cells"][0][threshold]["miou"] == image["cells"][0][0]["miou"]
    assert all("mask" in cell for image in val["images"] for cells in image["cells"] for cell in cells)


def test_a_planned_command_can_be_pasted(bench):
    folder, _ = bench
    stage = next((folder / "runs/stages").glob("evaluate-cam-*-threshold-*"))
    before = json.loads((stage / "metrics.json").read_text())
    command = [sys.executable, "-m", "wsss_bench", "evaluate", "--config", str(stage / "plan.yaml")]
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert json.loads((stage / "metrics.json").read_text()) == before
    assert read_manifest(stage)["title"].startswith("cam-mini-s0")


def test_the_notebook_of_results_reads_it(bench):
    folder, _ = bench
    shown = execute("look_at_results", folder, WSSS_EXPERIMENT="small.yaml")
    stages = len(list((folder / "runs/stages").iterdir()))
    assert shown.text("plan").strip() == f"small: {stages} of {stages} stages are complete"
    assert "clip\\_zeroshot" in shown.text("table")
    assert len(shown.pictures("thresholds")) == 1
    assert len(shown.pictures("curves")) >= 3  # cam, clims, supervised; with the CRF networks on their masks
    assert len(shown.pictures("pictures")) == 3  # few_train, few and few_ood


def test_a_trained_method_predicts_an_image_in_a_notebook(bench):
    folder, _ = bench
    shown = execute("predict_an_image", folder)
    assert shown.text("load").startswith("train-cam-mini-s0-")
    assert [len(shown.pictures(cell)) for cell in ("labels", "no-labels", "threshold", "words")] == [1] * 4
    assert "found: [" in shown.text("words")
