"""A planned stage that is run by hand: as planned, or not at all, or as a stage of its own."""

from __future__ import annotations

import re

import pytest
import yaml
from planned_stages import evaluate_config, fit_config, plan_stage, refine_config, seed_config

from wsss_bench.artifacts.files import is_complete, read_manifest, write_manifest, write_mask
from wsss_bench.artifacts.pruning import prune_stage
from wsss_bench.artifacts.seeds import write_seed
from wsss_bench.cli import main
from wsss_bench.data.sources.voc import VOC
from wsss_bench.types import ScoreMaps

pytestmark = pytest.mark.slow


@pytest.fixture
def folders(voc_root, tmp_path):
    """Bare folders of seeds and of masks of the training images."""
    source = VOC(voc_root, "mini")
    for image_id in source.ids("train"):
        mask = source.mask(image_id)
        classes = source.labels(image_id).nonzero()[0] + 1
        scores = [(mask == value).astype("f2") for value in classes]
        write_seed(tmp_path / "seeds", ScoreMaps(image_id, classes, scores, mask.shape))
        write_mask(tmp_path / "masks", image_id, (mask % 255).astype("uint8"))
    return tmp_path


@pytest.fixture(params=["train", "seed", "refine", "evaluate"])
def stage(request, voc_root, folders):
    config = {
        "train": lambda: fit_config(voc_root),
        "seed": lambda: seed_config(voc_root, None),
        "refine": lambda: refine_config(voc_root, folders / "seeds"),
        "evaluate": lambda: evaluate_config(voc_root, folders / "masks"),
    }[request.param]()
    return plan_stage(folders / "runs", request.param, config)


CHANGES = {
    "train": ("--trainer.max_epochs=3", "trainer.max_epochs", "2", "3"),
    "seed": ("--inference.flip=true", "inference.flip", "False", "True"),
    "refine": ("--refiner.init_args.threshold=0.4", "refiner.init_args.threshold", "0.3", "0.4"),
    "evaluate": ("--dataset=other", "dataset", "'absent'", "'other'"),
}


def files(stage):
    return {path.name for path in stage.path.rglob("*") if path.is_file()}


def test_another_option_is_refused_with_both_values_and_the_way_out(stage, capsys):
    option, key, wanted, given = CHANGES[stage.kind]
    assert main([*stage.arguments, option]) == 1
    message = capsys.readouterr().err
    assert f"{key} (planned: {wanted}, given: {given})" in message
    assert "--out" in message
    assert files(stage) == {"plan.yaml"}


def test_an_edited_plan_is_refused(stage, capsys):
    path = stage.path / "plan.yaml"
    content = yaml.safe_load(path.read_text())
    content["split" if "split" in content else "seed_everything"] = "val" if "split" in content else 7
    path.write_text(yaml.safe_dump(content))
    assert main(stage.arguments) == 1
    message = capsys.readouterr().err
    assert re.search(r"plan\.yaml was edited.*Run the bench again", message)
    assert files(stage) == {"plan.yaml"}


def test_a_second_file_that_changes_the_plan_is_refused(stage, tmp_path, capsys):
    option, key, *_ = CHANGES[stage.kind]
    name, value = option.removeprefix("--").split("=")
    content = yaml.safe_load(value)
    for part in reversed(name.split(".")):
        content = {part: content}
    (tmp_path / "more.yaml").write_text(yaml.safe_dump(content))
    assert main([*stage.arguments, "--config", str(tmp_path / "more.yaml")]) == 1
    assert f"{key} (planned: " in capsys.readouterr().err


def test_a_configuration_without_plan_may_not_use_a_planned_folder(stage, tmp_path, capsys):
    content = yaml.safe_load((stage.path / "plan.yaml").read_text())
    del content["stage"]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(content))
    assert main([stage.command, "--config", str(tmp_path / "own.yaml")]) == 1
    assert "stage.fingerprint (planned: " in capsys.readouterr().err


def plan_refine(voc_root, folders):
    return plan_stage(folders / "runs", "refine", refine_config(voc_root, folders / "seeds"))


def test_keys_that_decide_nothing_may_differ(voc_root, folders):
    stage = plan_refine(voc_root, folders)
    assert main([*stage.arguments, "--workers=0"]) == 0
    assert read_manifest(stage.path)["fingerprint"] == stage.fingerprint


def test_another_folder_makes_a_stage_of_its_own(voc_root, folders, capsys):
    stage, out = plan_refine(voc_root, folders), folders / "own"
    changed = [*stage.arguments, "--workers=0", "--out", str(out)]
    assert main([*changed, "--refiner.init_args.threshold=0.4"]) == 0
    manifest = read_manifest(out)
    assert (manifest["fingerprint"], manifest["title"]) == ("", "toy")
    assert files(stage) == {"plan.yaml"}
    assert main(changed) == 1
    assert "refiner.init_args.threshold (there: 0.4, now: 0.3)" in capsys.readouterr().err


def test_an_input_that_is_not_complete_or_not_the_planned_one_is_refused(voc_root, folders, capsys):
    seeds = plan_stage(folders / "runs", "seed", seed_config(voc_root, None))
    (folders / "seeds").rename(seeds.path / "seeds")  # all files are there, but the stage did not end
    stage = plan_stage(folders / "runs", "refine", refine_config(voc_root, seeds.path), seeds=seeds)
    by_hand = [*stage.arguments, "--workers=0"]
    assert main(by_hand) == 1
    assert f"seeds: the stage {seeds.path} is not complete" in capsys.readouterr().err
    write_manifest(seeds.path, {"fingerprint": "0" * 64})
    assert main(by_hand) == 1
    assert f"holds the stage '00000000', the plan names '{seeds.fingerprint[:8]}'" in capsys.readouterr().err
    write_manifest(seeds.path, {"fingerprint": seeds.fingerprint})
    assert main(by_hand) == 0
    prune_stage(seeds.path, "seeds")
    assert main(by_hand) == 1
    told = capsys.readouterr().err
    assert (
        f"seeds: {seeds.path}/seeds was pruned; `wsss-bench predict --config {seeds.path}/plan.yaml`" in told
    )


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--trainer.limit_train_batches=1", "--trainer.fast_dev_run=true"])
def test_a_shorter_training_never_counts_as_the_planned_one(voc_root, tmp_path, option):
    stage = plan_stage(tmp_path / "runs", "train", fit_config(voc_root))
    assert main([*stage.arguments, option]) == 1
    assert not is_complete(stage.path)
    assert main([*stage.arguments, option, "--out", str(tmp_path / "own")]) == 0
    assert read_manifest(tmp_path / "own")["fingerprint"] == ""
    assert main(stage.arguments) == 0
    assert read_manifest(stage.path)["fingerprint"] == stage.fingerprint
    assert read_manifest(stage.path)["steps"] == 4


@pytest.mark.slow
def test_environment_variables_change_no_planned_stage(voc_root, tmp_path, monkeypatch, capsys):
    stage = plan_stage(tmp_path / "runs", "train", fit_config(voc_root))
    monkeypatch.setenv("PL_TRAINER__LIMIT_TRAIN_BATCHES", "1")
    with monkeypatch.context() as patch:
        patch.setenv("JSONARGPARSE_DEFAULT_ENV", "true")  # the parser reads such variables then
        assert main(stage.arguments) == 1
        assert "trainer.limit_train_batches (planned: None, given: 1" in capsys.readouterr().err
    monkeypatch.setenv("PL_TRAINER_LIMIT_TRAIN_BATCHES", "1")  # Lightning's own
    assert main(stage.arguments) == 0
    assert read_manifest(stage.path)["steps"] == 4
