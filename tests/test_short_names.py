"""Short class names: the table, what is turned into full paths, and that the spelling decides nothing."""

import ast
import re
import shutil
from importlib import import_module
from pathlib import Path

import paths
import pytest
import yaml

from wsss_bench import short_names
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.reader import read_configs
from wsss_bench.plan.schema import ConfigError
from wsss_bench.short_names import BASES, KINDS, in_arguments, with_full_paths

CAM = "wsss_bench.methods.cam.CAM"
VOC = "wsss_bench.data.sources.voc.VOC"
IRN = "wsss_bench.refine.walk.irn.IRNRefiner"


@pytest.mark.slow  # imports everything
@pytest.mark.parametrize("package", BASES)
def test_a_package_exports_what_a_type_checker_sees(package):
    module = import_module(package)
    tree = ast.parse(Path(module.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.asname: f"{node.module}.{alias.name}" for node in block.body for alias in node.names}
    assert sorted(seen) == module.__all__ == dir(module)
    for name, path in seen.items():
        kind = getattr(module, name)
        assert f"{kind.__module__}.{kind.__qualname__}" == path
    with pytest.raises(AttributeError, match="has no attribute 'Camm'"):
        module.Camm  # noqa: B018
    with pytest.raises(ImportError):
        exec(f"from {package} import Camm")


def class_paths(content):
    """Of methods, refiners and sources; callbacks and loggers of the trainer have no short names."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key != "trainer":
                yield from [value] if key == "class_path" else class_paths(value)
    elif isinstance(content, list):
        for value in content:
            yield from class_paths(value)


def test_every_class_of_a_shipped_configuration_has_a_short_name():
    named = {
        path for content in read_configs(paths.CONFIGS).contents.values() for path in class_paths(content)
    }
    assert named <= {path for group in KINDS.values() for path in group}


def test_short_names_are_unique_below_a_key():
    for group in KINDS.values():
        names = [name for path in group for name in set(short_names.names_of(path))]
        assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"model": {"class_path": "CAM", "init_args": {"lr": 1}}}, CAM),
        ({"model": "CAM"}, CAM),
        ({"model": {"class_path": "wsss_bench.methods.CAM"}}, CAM),
        ({"model": {"class_path": CAM}}, CAM),
        ({"override": {"cam": {"model": {"class_path": "CAM"}}}}, CAM),
        ({"data": {"source": {"class_path": "VOC"}}}, VOC),
        ({"data": {"source": "VOC"}}, VOC),
        ({"source": {"class_path": "CombinedSource", "init_args": {"main": {"class_path": "VOC"}}}}, VOC),
        ({"data": {"extra_images": {"web": {"source": {"class_path": "VOC"}}}}}, VOC),
        ({"refiner": {"class_path": "IRN"}}, IRN),
        ({"refiner": {"class_path": "IRNRefiner"}}, IRN),
        ({"affinity_labels": {"class_path": "IRNAffinityLabels"}}, "walk.affinity_labels.IRNAffinityLabels"),
        ({"network": {"model": {"class_path": "IRNet"}}}, "wsss_bench.refine.walk.irnet.IRNet"),
        ({"model": {"class_path": "DeepLabV2"}}, "wsss_bench.segmenters.deeplabv2.DeepLabV2"),
    ],
)
def test_short_names_become_full_paths(given, path):
    before = yaml.safe_dump(given)
    assert path in yaml.safe_dump(with_full_paths(given), width=1000)
    assert yaml.safe_dump(given) == before


@pytest.mark.parametrize(
    "content",
    [
        {"trainer": {"logger": {"class_path": "CSVLogger"}, "callbacks": [{"class_path": "VOC"}]}},
        {
            "model": {
                "class_path": "own.Method",
                "init_args": {"model": {"class_path": "CAM"}, "source": "IRN"},
            }
        },
        {"bench": {"paper": [{"source": "IRN"}]}, "methods": ["CAM"]},
        {"model": {"class_path": None}, "source": None},
        {"variants": {"source": {"method": "VOC"}}},
        None,
        ["CAM"],
    ],
)
def test_what_is_no_class_of_this_package_stays(content):
    assert with_full_paths(content) == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {"class_path": "cam"}}, "model.class_path: there is no class 'cam'; did you mean 'CAM'"),
        (
            {"model": {"class_path": "VOC"}},
            "model.class_path: there is no class 'VOC'.* Known: AffinityNet, CAM",
        ),
        ({"data": {"source": {"class_path": "Vocc"}}}, "data.source.class_path: .* did you mean 'VOC'"),
        ({"refiner": {"class_path": "PAM"}}, "refiner.class_path: .* did you mean 'PAMR'"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(content, message):
    with pytest.raises(ValueError, match=message):
        with_full_paths(content)


def test_options_and_files_of_a_command_line(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text("model: {class_path: CAM, init_args: {optim: {lr: 1e-4}}}\n")
    words = ["--config", str(file), "--model.class_path=CAM", "--data.source", "VOC", "--out", "CAM", "--x"]
    full = in_arguments(words)
    assert full[2:] == [f"--model.class_path={CAM}", "--data.source", VOC, "--out", "CAM", "--x"]
    assert f"class_path: {CAM}" in full[1]
    assert "lr: 1e-4" in full[1]  # a number to jsonargparse, whatever YAML 1.1 says
    assert in_arguments(["--model", "{class_path: CAM}"])[1].strip() == f"{{class_path: {CAM}}}"
    file.write_text(f"model: {{class_path: {CAM}}}\n")
    assert in_arguments(["--config", str(file)]) == ["--config", str(file)]
    file.write_text("model: {class_path: CAMM}\n")
    with pytest.raises(
        ValueError, match=rf"^{re.escape(str(file))}: model.class_path: there is no class 'CAMM'"
    ):
        in_arguments(["--config", str(file)])
    with pytest.raises(ValueError, match=r"^--model.class_path: there is no class 'CAMM'"):
        in_arguments(["--model.class_path", "CAMM"])


@pytest.fixture
def shortened(tmp_path):
    """The shipped configurations with short names everywhere."""
    shutil.copytree(paths.CONFIGS, tmp_path / "configs")
    shutil.copytree(paths.CONFIGS.parent / "experiments", tmp_path / "experiments")
    changed = 0
    for file in tmp_path.rglob("*.yaml"):
        text, count = re.subn(r"class_path: wsss_bench\.[\w.]+\.(\w+)", r"class_path: \1", file.read_text())
        file.write_text(text)
        changed += count
    assert changed > 30
    return tmp_path


@pytest.mark.parametrize("name", ["mini", "voc", "ablations/mcis_backbones"])
def test_fingerprints_and_plans_do_not_depend_on_the_spelling(name, shortened, tmp_path):
    full = make_plan(paths.CONFIGS.parent / "experiments" / f"{name}.yaml", tmp_path / "runs")
    short = make_plan(shortened / "experiments" / f"{name}.yaml", tmp_path / "runs")
    assert [s.config for s in short.stages.values()] == [s.config for s in full.stages.values()]


def test_an_unknown_name_stops_the_plan(project):
    project.write("configs/methods/cam.yaml", {"model": {"class_path": "Cam"}})
    with pytest.raises(ConfigError, match=r"methods/cam\.yaml: model\.class_path: .* did you mean 'CAM'"):
        make_plan(project.experiment(), project.runs)


@pytest.mark.slow
def test_a_stage_by_hand_knows_the_full_path_whatever_is_imported(tmp_path):
    """jsonargparse itself takes what is imported, refuses two of one name, and prefers shorter paths."""
    from wsss_bench.methods.base import Method
    from wsss_bench.stages.fit import FitCLI

    class CAM(Method):
        pass

    source = {"class_path": "VOC", "init_args": {"root": "x"}}
    config = {"model": {"class_path": "CAM"}, "data": {"source": source}, "out": str(tmp_path)}
    file = tmp_path / "cam.yaml"
    file.write_text(yaml.safe_dump({"model": {"class_path": "CAM", "init_args": {"optim": {"lr": "1e-4"}}}}))
    words = ["--config", str(file), "--data.source.class_path", "VOC", "--data.source.init_args.root", "x"]
    for given in (config, [*words, "--out", str(tmp_path)]):
        resolved = FitCLI(given, build=False).plain_config()
        assert resolved["model"]["class_path"] == "wsss_bench.methods.cam.CAM"
        assert resolved["data"]["source"]["class_path"] == VOC
    assert resolved["model"]["init_args"]["optim"]["lr"] == 1e-4
