"""Stages that are predicted together: the files of stages that are predicted one by one, the network once."""

import json

import pytest
import yaml

from wsss_bench.artifacts.files import MANIFEST, is_complete
from wsss_bench.artifacts.shards import find_records
from wsss_bench.methods.clip_zeroshot import CLIPZeroShot
from wsss_bench.nn.clip import CLIP
from wsss_bench.stages import predict

pytestmark = pytest.mark.slow

SOURCE = {
    "class_path": "wsss_bench.data.sources.voc.VOC",
    "init_args": {"root": "${WSSS_DATA}/mini/voc", "vocabulary": "mini"},
}
OTHER_SOURCE = {**SOURCE, "init_args": {**SOURCE["init_args"], "background": False}}
READINGS = {
    "plain": {"attention": "self"},
    "similar": {"attention": "qq+kk"},
    "near": {"attention": "kk+neighbours", "residual": False, "mlp": False, "neighbour_std": 4.3},
}


NAMES = ("ss", "ms", "own-with-crf")


def config_of(reading, out, product="segmentation", **changes):
    return {
        "seed_everything": 0,
        "model": {
            "class_path": "wsss_bench.methods.clip_zeroshot.CLIPZeroShot",
            "init_args": {
                "clip": "package:mini/clip",
                "templates": "mini",
                "last_block": READINGS[reading],
                "logit_scale": 20.0 + len(reading),
            },
        },
        "data": {"source": SOURCE, "view": "image"},
        "trainer": {"accelerator": "cpu", "devices": 1},
        "product": product,
        "split": "few",
        "inference": {"scales": [1.0], "flip": True, "pad_to": 8, "window": 64, "window_stride": 32},
        "scales": [0.75, 1.0],
        "crf": True,
        "out": str(out / reading),
        **changes,
    }


def files_of(folder):
    """Contents of the seeds, or of the masks and probabilities, of a stage, by name."""
    found = [*folder.glob("seeds/*"), *folder.glob("masks/*/*")]
    files = {str(path.relative_to(folder)): path.read_bytes() for path in found}
    probabilities = find_records(folder / "probabilities")
    return files | {
        f"probabilities of {name}": str(one[0].read(NAMES)) for name, one in probabilities.items()
    }


def write(folder, configs):
    folder.mkdir(exist_ok=True)
    files = [folder / f"{number}.yaml" for number in range(len(configs))]
    for file, content in zip(files, configs, strict=True):
        file.write_text(yaml.safe_dump(content))
    return list(map(str, files))


def predict_alone(folder, configs):
    for file in write(folder, configs):
        assert predict.main(["--config", file]) == 0


def predict_together(folder, configs):
    first, *others = write(folder, configs)
    return predict.main(["--config", first, "--together", *others])


@pytest.fixture
def passes(monkeypatch):
    """Images that went through the first blocks of CLIP."""
    seen = []
    forward = CLIP._input_of_last_block

    def counted(self, image):
        seen.append(image)
        return forward(self, image)

    monkeypatch.setattr(CLIP, "_input_of_last_block", counted)
    return seen


@pytest.mark.parametrize("product", ["seed", "segmentation"])
def test_the_files_are_those_of_single_stages_and_each_view_is_seen_once(
    product, tmp_path, mini_data, passes
):
    alone, together = tmp_path / "alone", tmp_path / "together"
    predict_alone(alone, [config_of("near", alone, product)])
    of_one = len(passes)
    passes.clear()
    predict_alone(alone, [config_of(name, alone, product) for name in ("plain", "similar")])
    passes.clear()
    assert predict_together(together, [config_of(name, together, product) for name in READINGS]) == 0
    assert len(passes) == of_one
    expected = [files_of(alone / name) for name in READINGS]
    assert [files_of(together / name) for name in READINGS] == expected
    assert len({json.dumps(sorted(map(str, files.values()))) for files in expected}) == len(READINGS)
    manifests = [json.loads((together / name / MANIFEST).read_text()) for name in READINGS]
    assert [(manifest["shared_by"], manifest["image_count"]) for manifest in manifests] == [(3, 4)] * 3
    assert "shared_by" not in json.loads((alone / "near" / MANIFEST).read_text())


def test_published_readouts_of_one_stage_are_made_for_it_only(tmp_path, mini_data):
    readouts = {"plain": {}, "with-crf": {"crf": True}}
    alone, together = tmp_path / "alone", tmp_path / "together"
    for folder, run in ((alone, predict_alone), (together, predict_together)):
        run(folder, [config_of("plain", folder), config_of("near", folder, readouts=readouts)])
    assert files_of(together / "near") == files_of(alone / "near")
    assert any("own-plain" in name for name in files_of(together / "near"))
    assert files_of(together / "plain") == files_of(alone / "plain")


def test_a_stage_that_was_begun_alone_is_completed(tmp_path, mini_data):
    alone, together = tmp_path / "alone", tmp_path / "together"
    for folder in (alone, together):
        predict_alone(folder, [config_of("plain", folder)])
    (together / "plain" / MANIFEST).unlink()
    lost = sorted((together / "plain" / "masks").glob("*/*"))[0]
    lost.unlink()
    predict_alone(alone, [config_of("near", alone)])
    assert predict_together(together, [config_of(name, together) for name in ("plain", "near")]) == 0
    for name in ("plain", "near"):
        assert files_of(together / name) == files_of(alone / name)
        assert is_complete(together / name)


def test_an_error_leaves_no_stage_complete(tmp_path, mini_data, monkeypatch):
    configs = [config_of(name, tmp_path) for name in ("plain", "near")]
    logits = CLIPZeroShot.segmentation_logits

    def failing(self, image):
        if self.last_block.neighbour_std:
            raise ValueError("no neighbours today")
        return logits(self, image)

    monkeypatch.setattr(CLIPZeroShot, "segmentation_logits", failing)
    with pytest.raises(ValueError, match="no neighbours today"):
        predict_together(tmp_path / "configs", configs)
    assert not any(is_complete(tmp_path / name) for name in ("plain", "near"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainer": {"accelerator": "cpu", "devices": 2}}, "one device each"),
        ({"split": "val"}, r"other: split \(.*: 'few', .*: 'val'\)"),
        ({"inference": {"scales": [1.0, 0.5]}}, "inference.scales"),
        ({"product": "segmentation"}, "other: product"),
        ({"data": {"source": OTHER_SOURCE, "view": "image"}}, "data.source.init_args.background"),
        ({"model": {"class_path": "CAM", "init_args": {"weights": None}}}, "CAM shares no network"),
    ],
)
def test_what_cannot_be_predicted_together(changes, message, tmp_path, mini_data):
    configs = [
        config_of("plain", tmp_path, "seed"),
        {**config_of("near", tmp_path, "seed"), **changes},
    ]
    with pytest.raises(ValueError, match=message):
        predict_together(tmp_path / "configs", configs)
    assert not any((tmp_path / name / MANIFEST).exists() for name in ("plain", "near"))
