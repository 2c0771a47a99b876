"""Own files come first and the shipped ones behind them, wherever the command runs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import paths
import pytest
import yaml

from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.schema import ConfigError
from wsss_bench.plan.search_path import find_config, find_experiment
from wsss_bench.shipped import CONFIGS, EXPERIMENTS, with_shipped_configs

MINE = "methods: [cam]\ndata: [mini]\nrefiners: [threshold]\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: str, content: object) -> None:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))


def shipped(name: str) -> dict:
    return yaml.safe_load((CONFIGS / name).read_text())


def train_stages(plan) -> dict[str, dict]:
    return {stage.title: stage.config for stage in plan.stages.values() if stage.kind == "train"}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("mini", "mini.yaml"),
        ("mini.yaml", "mini.yaml"),
        ("experiments/voc.yaml", "voc.yaml"),
        ("experiments/voc", "voc.yaml"),
        ("ablations/clims", "ablations/clims.yaml"),
    ],
)
def test_a_shipped_experiment_is_found_by_name(folder, name, found):
    Path("mini").mkdir()  # a folder of that name is no experiment
    assert find_experiment(Path(name)) == EXPERIMENTS / found


def test_own_experiments_come_first_and_this_is_said(folder):
    write("experiments/mini.yaml", MINE)
    write("experiments/deep/own.yaml", MINE)
    write("beside.yaml", MINE)
    assert find_experiment(Path("deep/own")) == Path("experiments/deep/own.yaml")
    assert find_experiment(Path("beside")) == Path("beside.yaml")
    plan = make_plan(Path("mini"), folder / "runs")
    assert plan.notes == ["the experiment is experiments/mini.yaml, in place of the shipped one of this name"]
    assert make_plan(Path("experiments/mini.yaml"), folder / "runs").notes == []  # a path says which one


def test_an_unknown_experiment_names_the_shipped_and_the_own_ones(folder):
    write("experiments/deep/mine.yaml", MINE)
    message = r"no experiment 'mni'; did you mean 'mini'\? shipped: .*mini, .*voc.*; own, in .*: deep/mine$"
    with pytest.raises(ConfigError, match=message):
        find_experiment(Path("mni"))
    for name in ("experiments", ".", ".."):
        with pytest.raises(ConfigError, match=f"{re.escape(name)} is a folder; give the YAML file"):
            find_experiment(Path(name))
    for name in ("elsewhere/mine.yaml", "v1.5"):
        with pytest.raises(ConfigError, match=f"no experiment {re.escape(repr(name))}; "):
            find_experiment(Path(name))


def test_own_methods_overlays_and_data_join_the_shipped_ones(folder):
    method = shipped("methods/cam.yaml")
    method["model"]["class_path"] = "my_cam.Mine"
    write("configs/methods/my_cam.yaml", method)
    data = shipped("data/mini.yaml")
    data["data"]["source"]["init_args"]["root"] = "elsewhere"
    write("configs/data/others.yaml", data)
    write("configs/methods/cam.others.yaml", {"trainer": {"max_epochs": 77}})
    write("experiments/mine.yaml", "methods: [cam, my_cam]\ndata: [mini, others]\nrefiners: [threshold]\n")
    found = train_stages(plan := make_plan(Path("mine"), folder / "runs"))
    assert found["my_cam-mini-s0"]["model"]["class_path"] == "my_cam.Mine"
    epochs = {title: config["trainer"]["max_epochs"] for title, config in found.items()}
    assert epochs == {"cam-mini-s0": 6, "cam-others-s0": 77, "my_cam-mini-s0": 5, "my_cam-others-s0": 5}
    assert plan.notes == []


@pytest.mark.parametrize("name", ["mini", "experiments/mine.yaml"])
def test_an_own_file_wins_and_this_is_said_once(folder, name):
    write("experiments/mine.yaml", MINE)
    write("configs/methods/cam.yaml", shipped("methods/cam.yaml") | {"inference": {"scales": [3.0]}})
    plan = make_plan(Path(name), folder / "runs")
    seeds = [stage for stage in plan.stages.values() if stage.kind == "seed" and "cam" in stage.title]
    assert [stage.config["inference"]["scales"] for stage in seeds] == [[3.0]]
    assert [note for note in plan.notes if "cam" in note] == [
        f"read from {folder}/configs in place of shipped files: methods/cam.yaml",
        "shipped overlays lie over these: methods/cam.mini.yaml",
    ]


def test_the_nearest_folder_above_an_experiment_wins_over_the_working_directory(folder):
    for place, epochs in (("configs", 8), ("project/configs", 9)):
        write(f"{place}/methods/cam.mini.yaml", {"trainer": {"max_epochs": epochs}})
    for place in ("project/deep/mine.yaml", "mine.yaml"):
        write(place, MINE)

    def epochs(experiment: str, configs: str | None = None) -> int:
        given = None if configs is None else Path(configs)
        plan = make_plan(Path(experiment), folder / "runs", given, ["cam"])
        return train_stages(plan)["cam-mini-s0"]["trainer"]["max_epochs"]

    assert epochs("project/deep/mine.yaml") == 9
    assert epochs("mine.yaml") == epochs("mini") == epochs(str(EXPERIMENTS / "mini.yaml")) == 8
    assert epochs("mini", "project/configs") == 9


def test_the_place_of_a_file_is_no_part_of_a_stage(folder):
    expected = make_plan(Path("mini"), folder / "runs")
    shutil.copytree(paths.CONFIGS, folder / "configs")
    shutil.copy(EXPERIMENTS / "mini.yaml", folder / "mini.yaml")
    plan = make_plan(Path("mini"), folder / "runs")
    assert plan.stages == expected.stages
    assert any("in place of shipped files" in note for note in plan.notes)


def test_chosen_methods_are_an_experiment_of_their_own(folder):
    content = yaml.safe_load(MINE) | {
        "methods": ["cam", "clims"],
        "override": {"cam": {"trainer": {"max_epochs": 3}}, "clims": {"trainer": {"max_epochs": 4}}},
        "variants": {"longer": {"method": "cam", "override": {"trainer": {"max_epochs": 9}}}},
    }
    write("mine.yaml", content)
    plan = make_plan(Path("mine"), folder / "runs", methods=["cam", "supervised"])
    assert plan.experiment == "mine-cam-supervised"
    assert set(train_stages(plan)) == {"cam-mini-s0", "supervised-mini-s0"}
    assert train_stages(plan)["cam-mini-s0"]["trainer"]["max_epochs"] == 3
    for wrong in ([""], ["cam", "cam"], []):
        with pytest.raises(ConfigError, match="--methods: expected names of methods, each once"):
            make_plan(Path("mine"), folder / "runs", methods=wrong)


def test_a_python_file_without_its_yaml_file_is_named(folder):
    Path("lone.py").write_text("class Lone: pass\n")
    message = r"configs/methods/lone\.yaml does not exist, but lone\.py does: .* Write it"
    with pytest.raises(ConfigError, match=message):
        make_plan(Path("mini"), folder / "runs", methods=["lone"])
    with pytest.raises(ConfigError, match=r"configs/methods/lose\.yaml does not exist; .*known: cam"):
        make_plan(Path("mini"), folder / "runs", methods=["lose"])


def test_a_folder_without_configurations(folder):
    write("configs/notes.yaml", "of: another tool\n")
    plan = make_plan(Path("mini"), folder / "runs")
    assert (
        f"{folder}/configs has no file such as methods/<name>.yaml; only shipped ones are read" in plan.notes
    )
    for given, message in (("configs", "has no configurations"), ("absent", "is no folder")):
        with pytest.raises(ConfigError, match=f"{given} {message}; name one with"):
            make_plan(Path("mini"), folder / "runs", Path(given))


def test_messages_name_the_file_that_was_read(folder):
    write("configs/methods/cam.mini.yaml", {"trainer": {"max_epochs": 1}, "benhc": {}})
    overlaid = (
        rf"{CONFIGS}/methods/cam\.yaml with {folder}/configs/methods/cam\.mini\.yaml: benhc: unknown key"
    )
    with pytest.raises(ConfigError, match=overlaid):
        make_plan(Path("mini"), folder / "runs")
    write("configs/methods/cam.mini.yaml", "")
    with pytest.raises(ConfigError, match=rf"{folder}/configs/methods/cam\.mini\.yaml is empty"):
        make_plan(Path("mini"), folder / "runs")


def test_a_data_set_is_found_by_name(folder):
    assert find_config("data", Path("voc")) == CONFIGS / "data" / "voc.yaml"
    write("configs/data/voc.yaml", "")
    assert find_config("data", Path("voc")) == Path("configs/data/voc.yaml")
    assert find_config("data", Path("given/voc.yaml")) == Path("given/voc.yaml")
    with pytest.raises(ConfigError, match=r"no data/vok\.yaml; did you mean 'voc'"):
        find_config("data", Path("vok"))


def test_options_find_shipped_configurations_by_relative_path(folder):
    words = ["--config", "configs/methods/cam.yaml", "--config=configs/data/mini.yaml", "--out", "configs/x"]
    cam, mini = (str(CONFIGS / name) for name in ("methods/cam.yaml", "data/mini.yaml"))
    assert with_shipped_configs(words) == ["--config", cam, f"--config={mini}", *words[3:]]
    write("configs/methods/cam.yaml", "")
    assert with_shipped_configs(words)[:2] == words[:2]
    for absent in ("configs/methods/nope.yaml", "methods/cam.yaml", "../configs/methods/cam.yaml"):
        assert with_shipped_configs(["--config", absent]) == ["--config", absent]
