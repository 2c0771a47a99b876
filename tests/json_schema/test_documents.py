"""JSON schemas: every shipped file is valid, and what the readers refuse is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator
from paths import CONFIGS, ROOT

from wsss_bench.cli import main
from wsss_bench.json_schema.command import KINDS
from wsss_bench.json_schema.documents import Documents
from wsss_bench.plan.reader import read_configs
from wsss_bench.plan.yaml_files import read_yaml

FOLDERS = {
    "methods": "method",
    "data": "data",
    "refine": "refiner",
    "segmenters": "segmenter",
    "trainer": "trainer",
    "clusters": "cluster",
}
FILES = [*sorted(CONFIGS.glob("*/*.yaml")), *sorted((ROOT / "experiments").rglob("*.yaml"))]


def kind_of(path):
    kind = FOLDERS.get(path.parent.name, "experiment")
    return f"{kind}-overlay" if f"{kind}-overlay" in KINDS and "." in path.stem else kind


@pytest.fixture(scope="module")
def validators():
    schemas = Documents(read_configs(CONFIGS)).all()
    assert set(schemas) == set(KINDS)
    for schema in schemas.values():
        Draft7Validator.check_schema(schema)
    return {kind: Draft7Validator(schema) for kind, schema in schemas.items()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_file_is_valid(validators, path):
    assert [error.message for error in validators[kind_of(path)].iter_errors(read_yaml(path))] == []


def test_short_names_have_the_arguments_of_their_class(validators):
    content = read_yaml(CONFIGS / "methods" / "cam.yaml")
    content["model"]["class_path"] = "CAM"
    assert not list(validators["method"].iter_errors(content))
    content["model"]["init_args"]["backbon"] = "resnet50"
    assert list(validators["method"].iter_errors(content))


TYPOS = [
    ("methods/cam", "bencch", {}),
    ("methods/cam", "bench.thresold", 0.1),
    ("methods/cam", "bench.threshold", 1.5),
    ("methods/cam", "bench.pipeline", "two_stage"),
    ("methods/cam", "bench.extra", ["clpi"]),
    ("methods/cam", "bench.warm_start", "camm"),
    ("methods/cam", "bench.refine.irm", {}),
    ("methods/cam", "model.class_path", "wsss_bench.methods.cam.CMA"),
    ("methods/cam", "model.init_args.backbon", "resnet50"),
    ("methods/cam", "model.init_args.optim.lr", "fast"),
    ("methods/cam", "model.init_args.optim.learning_rate", 0.1),
    ("methods/clims", "model.init_args.loss_weights.regg", 1.0),
    ("methods/cam", "data.global_batchsize", 16),
    ("methods/cam", "data.view", "imge"),
    ("methods/cam", "data.view", {"class": "my_views.Mine"}),
    ("methods/cam", "data.transform.kind", "irm"),
    ("methods/cam", "trainer.max_epoch", 3),
    ("methods/cam", "trainer.max_epochs", "three"),
    ("methods/cam", "inference.flipp", True),
    ("methods/cam", "inference.scales", "1.0"),
    ("methods/cam.mini", "model.init_args.backbon", "resnet50"),
    ("methods/cam.mini", "bench.threshold", -0.1),
    ("data/voc", "protocol.holdout", -1),
    ("data/voc", "protocol.dataset", 3),
    ("data/voc", "data.source.init_args.rooot", "."),
    ("data/voc", "protocol.crf.iteration", 3),
    ("refine/irn", "refiner.init_args.beta_", 3),
    ("refine/irn", "network.trainer.max_epoch", 3),
    ("refine/irn", "requires", "pydensecrf"),
    ("segmenters/deeplabv2", "bench.backbonne", "R101"),
    ("trainer/gpu", "trainer.precison", 16),
    ("../experiments/mini", "methods", ["camm"]),
    ("../experiments/mini", "methods", "all"),
    ("../experiments/mini", "jobs", 0),
    ("../experiments/mini", "refiners", ["densecrff"]),
    ("../experiments/mini", "override.cam.trainer.max_epoch", 1),
    ("../experiments/mini", "override.cam.model.init_args.backbon", "x"),
    ("../experiments/mini", "variants.short.same_trainng", True),
    ("../experiments/mini", "variants.short.override.trainer.max_epochs", "x"),
]


@pytest.mark.parametrize(("file", "key", "value"), TYPOS, ids=lambda value: str(value)[:40])
def test_a_typo_is_not_valid(validators, file, key, value):
    path = (CONFIGS / f"{file}.yaml").resolve()
    content: Any = copy.deepcopy(read_yaml(path))
    *parents, last = key.split(".")
    place = content
    for parent in parents:
        place = place.setdefault(parent, {"method": "cam"} if parent == "short" else {})
    place[last] = value
    assert not validators[kind_of(path)].is_valid(content)


def test_a_class_of_another_package_is_not_checked_further(validators):
    content = read_yaml(CONFIGS / "methods" / "cam.yaml")
    content["model"] = {"class_path": "my_methods.GWRP", "init_args": {"anything": 1}}
    content["data"]["view"] = {"class_path": "my_views.Mine", "init_args": {"anything": 1}}
    content["data"]["transform"]["kind"] = {"class_path": "my_transforms.Mine"}
    assert validators["method"].is_valid(content)


OWN = """
from wsss_bench.methods.cam import CAM
class Own(CAM):
    def __init__(self, strength: float = 1.0, **kwargs) -> None:
        super().__init__(**kwargs)
from wsss_bench.data.views import ImageView
class OwnView(ImageView):
    def __init__(self, *args, strength: float = 1.0) -> None:
        super().__init__(*args)
"""


@pytest.mark.slow
def test_own_classes_of_a_configs_folder_are_checked(tmp_path, monkeypatch, capsys):
    """Their `**kwargs` are those of the class above."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_of_schema.py").write_text(OWN)
    (tmp_path / "configs" / "methods").mkdir(parents=True)
    content = read_yaml(CONFIGS / "methods" / "cam.yaml")
    content["model"] = {"class_path": "own_of_schema.Own", "init_args": {"strength": 2.0, "output_stride": 8}}
    content["data"]["view"] = {"class_path": "own_of_schema.OwnView", "init_args": {"strength": 2.0}}
    (tmp_path / "configs" / "methods" / "own.yaml").write_text(yaml.safe_dump(content))
    assert main(["schema", "--out", "schemas"]) == 0
    assert {path.stem for path in (tmp_path / "schemas").iterdir()} == set(KINDS)
    capsys.readouterr()
    assert main(["schema", "method"]) == 0
    validator = Draft7Validator(yaml.safe_load(capsys.readouterr().out))
    assert validator.is_valid(content)
    for place in (content["model"], content["data"]["view"]):
        place["init_args"]["strenght"] = 2.0
        assert not validator.is_valid(content)
        del place["init_args"]["strenght"]


def test_a_kind_or_a_folder_is_needed(capsys):
    for arguments in (["schema"], ["schema", "method", "--out", "x"], ["schema", "methods"]):
        with pytest.raises(SystemExit, match="2"):
            main(arguments)
        assert "segmenter-overlay" in capsys.readouterr().err
