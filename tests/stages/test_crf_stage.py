"""Masks with CRF in two stages: those of the probabilities, also after a kill or with two ranks."""

import json
import multiprocessing
import time

import numpy as np
import pytest
import yaml

from wsss_bench.artifacts.files import MANIFEST, is_complete, read_manifest, read_mask
from wsss_bench.artifacts.layout import PROBABILITIES
from wsss_bench.artifacts.metrics import METRICS
from wsss_bench.artifacts.probabilities import probability_ids, read_probabilities
from wsss_bench.callbacks import predicted_mask
from wsss_bench.cli import main
from wsss_bench.crf.densecrf import CRFConfig, available, crf_inference
from wsss_bench.crf.readouts import ReadoutCRF, write_masks_with_crf
from wsss_bench.data.sources.voc import VOC
from wsss_bench.stages import crf as crf_stage
from wsss_bench.stages import evaluate, predict, prediction

pytestmark = pytest.mark.slow
needs_crf = pytest.mark.skipif(not available(), reason="pydensecrf is not installed (make crf)")

SOURCE = {
    "class_path": "wsss_bench.data.sources.voc.VOC",
    "init_args": {"root": "${WSSS_DATA}/mini/voc", "vocabulary": "mini"},
}
OF_PROTOCOL = {"iterations": 3, "bilateral_sxy": 13}
OF_AUTHORS = {"crf": {"iterations": 2, "floor": 1e-4}, "crf_subtract": [122.5, 116.5, 104.0]}
IMAGES = [f"val_{number:06d}" for number in range(4)]


def predict_config(out, **changes):
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
        "readouts": {"authors": {"crf": True, "mirror": "sum"}},
        "out": str(out),
        **changes,
    }


def crf_config(out, predicted, **changes):
    return {
        "source": SOURCE,
        "split": "few",
        "probabilities": str(predicted),
        "crf": OF_PROTOCOL,
        "readouts": {"authors": OF_AUTHORS},
        "workers": 0,
        "out": str(out),
        **changes,
    }


def run(stage, tmp_path, content):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    assert stage.main(["--config", str(path)]) == 0


@pytest.fixture(scope="module")
def predicted(tmp_path_factory, mini_data):
    """A predict stage of four images, and the probabilities of its read-outs, by image."""
    folder = tmp_path_factory.mktemp("predicted")
    seen = {}

    def noting(image_id, probabilities, for_crf):
        seen.setdefault(image_id, []).append(probabilities.numpy().copy())
        return predicted_mask(image_id, probabilities, for_crf)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prediction, "predicted_mask", noting)
        run(predict, folder, predict_config(folder / "stage"))
    return folder / "stage", seen


def masks_of(stage):
    return {str(path.relative_to(stage)): path.read_bytes() for path in (stage / "masks").rglob("*.png")}


@needs_crf
def test_two_stages_make_the_masks_of_the_probabilities_themselves(predicted, tmp_path, mini_data):
    stage, seen = predicted
    run(crf_stage, tmp_path, crf_config(tmp_path / "crf", stage))
    assert {path.name for path in (stage / "masks").iterdir()} == {"ss-raw", "ms-raw"}
    assert {path.name for path in (tmp_path / "crf" / "masks").iterdir()} == {
        "ss-crf",
        "ms-crf",
        "own-authors",
    }
    usual = ReadoutCRF(CRFConfig(**OF_PROTOCOL))
    shifted = ReadoutCRF(CRFConfig(**OF_AUTHORS["crf"]), tuple(OF_AUTHORS["crf_subtract"]))
    source = VOC("${WSSS_DATA}/mini/voc", vocabulary="mini")
    differing = 0
    for image_id in IMAGES:
        for name, settings, probabilities in zip(
            ("ss-crf", "ms-crf", "own-authors"), (usual, usual, shifted), seen[image_id], strict=True
        ):
            labels = (
                np.unique(probabilities.argmax(0)) if "own" not in name else np.arange(len(probabilities))
            )
            image = settings.image(source.image(image_id))
            expected = labels[crf_inference(image, probabilities[labels], settings.crf).argmax(axis=0)]
            differing += np.sum(read_mask(tmp_path / "crf" / "masks" / name / f"{image_id}.png") != expected)
    assert differing <= 6  # of 110 592 pixels
    manifest = read_manifest(tmp_path / "crf")
    assert (manifest["kind"], manifest["image_count"], manifest["crf"]) == ("crf", 4, True)


@needs_crf
def test_evaluate_scores_both_stages(predicted, tmp_path, mini_data):
    stage, _ = predicted
    run(crf_stage, tmp_path, crf_config(tmp_path / "crf", stage))
    content = {"source": SOURCE, "masks": str(stage), "crf_masks": str(tmp_path / "crf"), "split": "few"}
    run(evaluate, tmp_path, {**content, "dataset": "mini", "out": str(tmp_path / "score")})
    rows = json.loads((tmp_path / "score" / METRICS).read_text())["rows"]
    assert {(row["scales"], row["post"]): row["headline"] for row in rows} == {
        ("ss", "raw"): True,
        **dict.fromkeys([("ms", "raw"), ("ss", "crf"), ("ms", "crf"), ("own", "authors")], False),
    }
    with pytest.raises(FileNotFoundError, match="name a crf stage"):
        run(evaluate, tmp_path, {**content, "crf_masks": str(tmp_path / "nothing")})
    with pytest.raises(ValueError, match="leave out --crf_masks"):
        run(evaluate, tmp_path, {**content, "masks": None, "seeds": str(stage), "threshold": 0.5})


@needs_crf
def test_a_killed_stage_goes_on_with_the_images_that_it_lacks(predicted, tmp_path, mini_data, monkeypatch):
    stage, _ = predicted
    whole, out = tmp_path / "whole", tmp_path / "killed"
    run(crf_stage, tmp_path, crf_config(whole, stage))

    def slowly(*arguments):
        write_masks_with_crf(*arguments)
        time.sleep(0.5)

    monkeypatch.setattr(crf_stage, "write_masks_with_crf", slowly)
    arguments = (crf_stage, tmp_path, crf_config(out, stage))
    process = multiprocessing.get_context("fork").Process(target=run, args=arguments)
    process.start()
    first = out / "masks" / "own-authors" / f"{IMAGES[0]}.png"
    while not first.is_file() and process.is_alive():
        time.sleep(0.005)
    process.kill()
    process.join()
    assert not is_complete(out)
    computed = []
    monkeypatch.setattr(
        crf_stage,
        "write_masks_with_crf",
        lambda *given: computed.append(given[1]) or write_masks_with_crf(*given),
    )
    run(*arguments)
    assert computed == IMAGES[1:]
    assert masks_of(out) == masks_of(whole)


@needs_crf
def test_a_record_that_was_cut_off_is_predicted_again_and_not_used(tmp_path, mini_data):
    out = tmp_path / "predicted"
    run(predict, tmp_path, predict_config(out))
    (shard,) = (out / PROBABILITIES).iterdir()
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-5])
    with pytest.raises(
        FileNotFoundError, match=f"no probabilities for 1 images of split 'few': {IMAGES[-1]}"
    ):
        run(crf_stage, tmp_path, crf_config(tmp_path / "crf", out))
    assert not (tmp_path / "crf" / "masks").exists()
    (out / MANIFEST).unlink()
    before = {path: path.stat().st_mtime_ns for path in (out / "masks").rglob(f"{IMAGES[0]}.png")}
    run(predict, tmp_path, predict_config(out))
    assert shard.read_bytes() == whole
    assert {path: path.stat().st_mtime_ns for path in before} == before


def predict_on_a_rank(rank, config):
    return predict.main(["--config", config])


@needs_crf
def test_two_ranks_write_the_probabilities_of_one(predicted, tmp_path, mini_data, rank_pair):
    stage, _ = predicted
    config = predict_config(tmp_path / "two")
    config["trainer"] |= {"devices": 2, "strategy": "ddp"}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(config))
    assert rank_pair.call(predict_on_a_rank, str(tmp_path / "two.yaml")) == [0, 0]
    one, two = stage / PROBABILITIES, tmp_path / "two" / PROBABILITIES
    assert {path.name for path in two.iterdir()} == {"0-00000.probabilities", "1-00000.probabilities"}
    assert probability_ids(two) == set(IMAGES)
    names = ["ss", "ms", "own-authors"]
    for image_id in IMAGES:
        np.testing.assert_equal(
            read_probabilities(two, image_id, names), read_probabilities(one, image_id, names)
        )


@needs_crf
def test_stages_together_write_the_masks_of_single_ones(predicted, tmp_path, mini_data):
    stage, _ = predicted
    configs = [
        crf_config(tmp_path / "a", stage),
        crf_config(tmp_path / "b", stage, readouts={}),
        crf_config(tmp_path / "c", stage, split="few_ood"),
    ]
    files = [str(tmp_path / f"{number}.yaml") for number in range(3)]
    for file, config in zip(files, configs, strict=True):
        with open(file, "w") as opened:
            yaml.safe_dump(config, opened)
    assert main(["crf", "--config", files[0], "--together", files[1]]) == 0
    assert [read_manifest(tmp_path / name)["shared_by"] for name in "ab"] == [2, 2]
    for name, changes in (("a", {}), ("b", {"readouts": {}})):
        run(crf_stage, tmp_path, crf_config(tmp_path / f"{name}-alone", stage, **changes))
        assert masks_of(tmp_path / name) == masks_of(tmp_path / f"{name}-alone")
    with pytest.raises(ValueError, match=r"few_ood.* Run them one by one"):
        crf_stage.main(["--config", files[0], "--together", files[2]])


@needs_crf
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"crf": None, "readouts": {}},
            "no mask of ss, ms, own-authors is asked for; give --crf or --readouts",
        ),
        ({"readouts": {"other": OF_AUTHORS}}, "has no read-out own-other, only ss, ms, own-authors"),
        ({"crf": {"floor": 1e-9}}, r"crf\.floor is 1e-09, but probabilities below 1e-05 are not stored"),
        (
            {"probabilities": "nothing"},
            "holds no probabilities for a CRF; predict a segmentation with --crf true",
        ),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_written(
    predicted, tmp_path, mini_data, changes, message
):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run(crf_stage, tmp_path, crf_config(tmp_path / "crf", predicted[0], **changes))
    assert not (tmp_path / "crf").exists()


def test_without_the_extension_there_are_raw_masks_only(tmp_path, mini_data, monkeypatch, capsys):
    for module in (prediction, crf_stage):
        monkeypatch.setattr(module, "available", lambda: False)
    run(predict, tmp_path, predict_config(tmp_path / "predicted"))
    assert not (tmp_path / "predicted" / PROBABILITIES).exists()
    assert {path.name for path in (tmp_path / "predicted" / "masks").iterdir()} == {"ss-raw", "ms-raw"}
    run(crf_stage, tmp_path, crf_config(tmp_path / "crf", tmp_path / "predicted"))
    assert "pydensecrf is not installed: there are no masks with CRF" in capsys.readouterr().out
    assert is_complete(tmp_path / "crf")
    content = {"masks": str(tmp_path / "predicted"), "crf_masks": str(tmp_path / "crf"), "split": "few"}
    run(evaluate, tmp_path, {**content, "source": SOURCE, "out": str(tmp_path / "score")})
    rows = json.loads((tmp_path / "score" / METRICS).read_text())["rows"]
    assert [(row["scales"], row["post"]) for row in rows] == [("ss", "raw"), ("ms", "raw")]


def test_without_a_crf_no_probabilities_are_written(tmp_path, mini_data):
    run(predict, tmp_path, predict_config(tmp_path / "out", crf=False, readouts={"authors": {}}, scales=[]))
    assert not (tmp_path / "out" / PROBABILITIES).exists()
    assert {path.name for path in (tmp_path / "out" / "masks").iterdir()} == {"ss-raw", "own-authors"}
