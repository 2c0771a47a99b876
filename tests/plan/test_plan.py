"""The plan of a matrix: its stages, which ones cells share, and what fingerprints depend on."""

from __future__ import annotations

import copy
import hashlib
import subprocess
import sys
from collections import Counter

import pytest
import yaml
from project import DATA, METHODS

from wsss_bench.artifacts.files import write_manifest
from wsss_bench.artifacts.identity import fingerprint_of
from wsss_bench.plan.description import describe
from wsss_bench.plan.plan import StageFolder, clock, distinct
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.schema import ConfigError


def kinds(plan) -> Counter:
    return Counter(stage.kind for stage in plan.stages.values())


def test_counts_of_a_matrix(project):
    plan = make_plan(project.experiment(random_seeds=[0, 1]), project.runs)
    # cam and full: two seeds; zero trains nothing and runs once
    assert kinds(plan) == {"train": 4, "seed": 3, "refine": 2, "predict": 6, "crf": 6, "evaluate": 11}
    assert Counter(product.kind for product in plan.products) == {
        "seed": 3,
        "pseudo_mask": 2,
        "segmentation": 6,
    }
    order = list(plan.stages)
    for stage in plan.stages.values():
        assert all(order.index(key) < order.index(stage.fingerprint) for key in stage.inputs.values())


IRN = {
    "refiner": {"class_path": "fake.Walk", "init_args": {"threshold": None}},
    "affinity_labels": {"class_path": "fake.Confident", "init_args": {"foreground": 0.3}},
    "network": {
        "model": {"class_path": "fake.IRNet"},
        "data": {"view": "mask", "global_batch_size": 32},
        "trainer": {"max_epochs": 3, "devices": 4},
    },
}
NET = {
    "model": {"class_path": "fake.DeepLab"},
    "data": {"view": "mask"},
    "trainer": {"max_steps": 100},
    "inference": {"pad_to": 16},
    "bench": {"backbone": "R101", "extra": ["coco_masks"]},
}
WHOLE = {"refiners": ["threshold", "irn"], "pseudo_masks": "irn", "segmenter": "net"}


def multi_stage(project, **changes):
    project.write("configs/refine/irn.yaml", IRN)
    project.write("configs/segmenters/net.yaml", NET)
    data = copy.deepcopy(DATA)
    data["data"]["train_split"] = "train_aug"
    project.write("configs/data/toy.yaml", data)
    return project.experiment(**{"methods": ["cam"], **WHOLE, **changes})


def test_all_stages_of_a_multi_stage_method(project):
    plan = make_plan(multi_stage(project), project.runs)
    stages = {stage.path.name.rsplit("-", 1)[0]: stage for stage in plan.stages.values()}
    reads = {
        name: {role: plan.stages[key].path.name.rsplit("-", 1)[0] for role, key in stage.inputs.items()}
        for name, stage in stages.items()
        if stage.kind != "evaluate"
    }
    assert reads == {
        "train-cam-toy-s0": {},
        "seed-cam-toy-s0": {"checkpoint": "train-cam-toy-s0"},
        "refine-cam-toy-s0-threshold": {"seeds": "seed-cam-toy-s0"},
        "refine-cam-toy-s0-irn-labels": {"seeds": "seed-cam-toy-s0"},
        "affinity-cam-toy-s0-irn": {"masks": "refine-cam-toy-s0-irn-labels"},
        "refine-cam-toy-s0-irn": {"seeds": "seed-cam-toy-s0", "network": "affinity-cam-toy-s0-irn"},
        "segment-cam-toy-s0-irn-net": {"masks": "refine-cam-toy-s0-irn"},
        "predict-cam-toy-s0-irn-net-val": {"checkpoint": "segment-cam-toy-s0-irn-net"},
        "predict-cam-toy-s0-irn-net-val_ood": {"checkpoint": "segment-cam-toy-s0-irn-net"},
        "crf-cam-toy-s0-irn-net-val": {"probabilities": "predict-cam-toy-s0-irn-net-val"},
        "crf-cam-toy-s0-irn-net-val_ood": {"probabilities": "predict-cam-toy-s0-irn-net-val_ood"},
    }
    # what is trained on covers the training images; what is only scored, the scored ones
    split = {name: stage.config["split"] for name, stage in stages.items() if "split" in stage.config}
    assert split["seed-cam-toy-s0"] == split["refine-cam-toy-s0-irn-labels"] == "train_aug"
    assert split["refine-cam-toy-s0-irn"] == "train_aug"
    assert split["refine-cam-toy-s0-threshold"] == split["evaluate-cam-toy-s0-irn"] == "train"
    network = stages["affinity-cam-toy-s0-irn"].config
    assert network["masks"] == str(stages["refine-cam-toy-s0-irn-labels"].path)
    assert network["data"]["source"] == DATA["data"]["source"]
    # the experiment's trainer goes before the file's, as it does for methods
    assert network["trainer"] == {"max_epochs": 3, "devices": 1, "accelerator": "cpu"}
    assert stages["refine-cam-toy-s0-irn"].config["network"] == str(stages["affinity-cam-toy-s0-irn"].path)
    assert stages["refine-cam-toy-s0-irn"].config["refiner"]["init_args"] == {"threshold": 0.15}
    assert stages["affinity-cam-toy-s0-irn"].command == stages["segment-cam-toy-s0-irn-net"].command == "fit"
    products = [(p.kind, p.split, p.refiner, p.extra) for p in plan.products]
    assert products == [
        ("seed", "train", None, ()),
        ("pseudo_mask", "train", "threshold", ()),
        ("pseudo_mask", "train", "irn", ()),
        ("segmentation", "val", "irn", ("coco_masks",)),
        ("segmentation", "val_ood", "irn", ("coco_masks",)),
    ]
    assert plan.segmenters == {"toy": "net (R101, coco_masks) on the masks of irn"}


def test_a_fingerprint_follows_the_network_of_a_refiner(project):
    file = multi_stage(project)
    before = {stage.title: key for key, stage in make_plan(file, project.runs).stages.items()}
    content = copy.deepcopy(IRN)
    content["network"]["trainer"]["max_epochs"] = 4
    project.write("configs/refine/irn.yaml", content)
    after = {stage.title: key for key, stage in make_plan(file, project.runs / "elsewhere").stages.items()}
    changed = {title for title in before if before[title] != after[title]}
    assert "cam-toy-s0-irn" in changed
    assert "cam-toy-s0-irn-net" in changed
    assert not {"cam-toy-s0", "cam-toy-s0-irn-labels", "cam-toy-s0-threshold"} & changed


def settings_of(plan, row, refiner="irn"):
    """Background levels of a row: of the labels, and after the walk; and the `post` of its pseudo masks."""
    stages = {stage.title: stage.config for stage in plan.stages.values() if stage.kind == "refine"}
    labels = stages[f"{row}-s0-{refiner}-labels"]["refiner"]["init_args"]
    walk = stages[f"{row}-s0-{refiner}"]["refiner"]["init_args"]
    (post,) = {
        stage.config["post"]
        for stage in plan.stages.values()
        if stage.kind == "evaluate" and stage.title == f"{row}-s0-{refiner}"
    }
    return labels["foreground"], walk["threshold"], post


def test_a_method_may_have_its_own_settings_of_a_refiner(project):
    """Refiner, method, refiner on a data set, method on a data set, experiment: later ones win."""
    file = multi_stage(project, methods=["cam", "clims"])
    own = copy.deepcopy(METHODS["clims"])
    own["bench"]["refine"] = {
        "irn": {
            "refiner": {"init_args": {"threshold": 0.25}},
            "affinity_labels": {"init_args": {"foreground": 0.4}},
        }
    }
    project.write("configs/methods/clims.yaml", own)
    plan = make_plan(file, project.runs)
    assert settings_of(plan, "cam-toy") == (0.3, 0.15, "irn")
    changed = "irn[affinity_labels.foreground=0.4,threshold=0.25]"
    assert settings_of(plan, "clims-toy") == (0.4, 0.25, changed)
    # the data set's file of the refiner wins over the method's general one
    project.write("configs/refine/irn.toy.yaml", {"affinity_labels": {"init_args": {"foreground": 0.7}}})
    plan = make_plan(file, project.runs)
    assert settings_of(plan, "cam-toy") == (0.7, 0.15, "irn")
    assert settings_of(plan, "clims-toy") == (0.7, 0.25, "irn[threshold=0.25]")
    # and the method's file for the data set over that
    overlay = {"bench": {"refine": {"irn": {"affinity_labels": {"init_args": {"foreground": 0.8}}}}}}
    project.write("configs/methods/clims.toy.yaml", overlay)
    assert settings_of(make_plan(file, project.runs), "clims-toy")[0] == 0.8
    override = {"bench": {"refine": {"irn": {"affinity_labels": {"init_args": {"foreground": 0.9}}}}}}
    file = multi_stage(project, methods=["clims"], override={"clims": override})
    project.write("configs/methods/clims.yaml", own)
    assert settings_of(make_plan(file, project.runs), "clims-toy")[0] == 0.9
    variants = {"clims-low": {"method": "clims", "override": override}}
    file = multi_stage(project, methods=["clims"], variants=variants)
    plan = make_plan(file, project.runs)
    assert settings_of(plan, "clims-toy")[0] == 0.8
    assert settings_of(plan, "clims-low-toy")[0] == 0.9


def test_settings_of_a_refiner_that_does_not_exist_are_refused(project):
    own = copy.deepcopy(METHODS["cam"])
    own["bench"]["refine"] = {"inr": {"refiner": {}}}
    file = multi_stage(project)
    project.write("configs/methods/cam.yaml", own)
    with pytest.raises(ConfigError, match=r"bench\.refine\.inr: .* did you mean 'irn'"):
        make_plan(file, project.runs)
    own["bench"]["refine"] = {"irn": {"refiner": {"init_argz": {}}}}
    project.write("configs/methods/cam.yaml", own)
    with pytest.raises(
        ConfigError, match=r"irn\.yaml with bench\.refine\.irn of .*cam\.yaml: refiner\.init_ar"
    ):
        make_plan(file, project.runs)


def test_a_segmenter_without_masks_has_the_mark_of_its_refiner(project):
    file = multi_stage(project)
    project.write("configs/refine/irn.yaml", {**IRN, "requires": ["no_such_module"]})
    plan = make_plan(file, project.runs)
    marks = [(p.kind, p.split, p.missing) for p in plan.products if p.missing]
    assert marks == [
        ("pseudo_mask", "train", "no no_such_module"),
        ("segmentation", "val", "no no_such_module"),
        ("segmentation", "val_ood", "no no_such_module"),
    ]
    assert not {"affinity", "segment", "predict"} & set(kinds(plan))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"segmenter": None}, "go together"),
        ({"pseudo_masks": None}, "go together"),
        ({"pseudo_masks": "inr"}, "did you mean 'irn'"),
        ({"segmenter": "ned"}, "did you mean 'net'"),
    ],
)
def test_pseudo_masks_and_segmenter_go_together(project, changes, message):
    with pytest.raises(ConfigError, match=message):
        make_plan(multi_stage(project, **changes), project.runs)


def test_a_network_needs_affinity_labels(project):
    file = multi_stage(project)
    project.write(
        "configs/refine/irn.yaml", {key: value for key, value in IRN.items() if key != "affinity_labels"}
    )
    with pytest.raises(ConfigError, match="network and affinity_labels go together"):
        make_plan(file, project.runs)


def test_titles_and_folders(project):
    plan = make_plan(project.experiment(methods=["cam"]), project.runs)
    names = [stage.path.name.rsplit("-", 1)[0] for stage in plan.stages.values()]
    assert names == [
        "train-cam-toy-s0",
        "seed-cam-toy-s0",
        "evaluate-cam-toy-s0-seed",
        "refine-cam-toy-s0-threshold",
        "evaluate-cam-toy-s0-threshold",
    ]
    for stage in plan.stages.values():
        assert stage.path.name.endswith(stage.fingerprint[:8])


def test_keys_of_each_command(project):
    plan = make_plan(project.experiment(), project.runs)
    both = {"seed_everything", "model", "data", "trainer", "out", "stage"}
    seed = both | {"inference", "checkpoint", "product", "split"}
    scoring = {
        *(
            "source",
            "dataset",
            "split",
            "product",
            "image_labels",
            "scales",
            "post",
            "threshold",
            "holdout",
            "count",
        ),
        *("checkpoint_rule", "out", "stage"),
    }
    for stage in plan.stages.values():
        expected = {
            "train": [both | {"warm_start"}],
            "seed": [seed],
            "predict": [seed | {"crf", "scales"}],
            "crf": [{"source", "split", "probabilities", "crf", "out", "stage"}],
            "refine": [{"source", "split", "seeds", "refiner", "out", "stage"}],
            "evaluate": [scoring | {"seeds"}, scoring | {"masks"}, scoring | {"masks", "crf_masks"}],
        }[stage.kind]
        assert set(stage.config) in expected, stage.name


def test_configurations_of_the_stages(project):
    plan = make_plan(project.experiment(), project.runs)
    train, seed, scored, refine, *_ = plan.stages.values()
    assert train.config["trainer"] == {"max_epochs": 5, "accelerator": "cpu", "devices": 1}
    assert train.config["data"]["source"] == DATA["data"]["source"]
    assert train.config["data"]["view"] == "image"
    assert seed.config["checkpoint"] == str(train.path)
    assert (scored.config["scales"], scored.config["threshold"], scored.config["count"]) == ("ms", 0.15, 10)
    assert refine.config["refiner"]["init_args"] == {"threshold": 0.15}  # null takes the method's own
    train.write_plan()
    assert yaml.safe_load((train.path / "plan.yaml").read_text()) == train.config


def test_the_data_of_method_and_data_set_are_merged(project):
    content = copy.deepcopy(DATA)
    content["data"]["train_split"] = "train_aug"
    project.write("configs/data/toy.yaml", content)
    train, *_ = make_plan(project.experiment(), project.runs).stages.values()
    assert train.config["data"]["train_split"] == "train_aug"
    assert train.config["data"]["global_batch_size"] == 16


def test_warm_start_shares_the_train_stage(project):
    plan = make_plan(project.experiment(methods=["cam", "clims"]), project.runs)
    assert kinds(plan)["train"] == 2
    alone = make_plan(project.experiment("alone", methods=["clims"]), project.runs)
    cam, clims = (stage for stage in alone.stages.values() if stage.kind == "train")
    assert clims.inputs == {"warm_start": cam.fingerprint}
    assert clims.config["warm_start"] == str(cam.path)
    assert cam.fingerprint in plan.stages


def test_experiments_share_stages(project):
    one = make_plan(project.experiment("one"), project.runs)
    two = make_plan(project.experiment("two", random_seeds=[0, 1]), project.runs)
    assert set(one.stages) < set(two.stages)


def test_a_variant_shares_what_it_does_not_change(project):
    variants = {"narrow": {"method": "cam", "override": {"model": {"init_args": {"width": 4}}}}}
    variants["other_readout"] = {"method": "cam", "override": {"bench": {"threshold": 0.9}}}
    plan = make_plan(project.experiment(methods=["cam"], refiners=[], variants=variants), project.runs)
    assert kinds(plan) == {"train": 2, "seed": 2, "evaluate": 3}


def test_fingerprints_do_not_depend_on_paths_or_order_of_keys(project, tmp_path):
    config = {"a": 1, "b": {"c": 2, "d": 3}, "out": "x", "checkpoint": "y", "stage": {"experiment": "e"}}
    other = {"b": {"d": 3, "c": 2}, "a": 1, "out": "z", "checkpoint": "w", "stage": {}}
    assert fingerprint_of("train", config, {}) == fingerprint_of("train", other, {})
    here = make_plan(project.experiment(), project.runs)
    there = make_plan(project.experiment("renamed"), tmp_path / "elsewhere")
    assert list(here.stages) == list(there.stages)


def test_the_fingerprint_is_sha256_of_canonical_json():
    text = b'{"config":{"a":1},"inputs":{},"kind":"train"}'
    assert fingerprint_of("train", {"a": 1, "out": "here"}, {}) == hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"trainer": {"max_epochs": 6}}, set()),
        ({"model": {"init_args": {"width": 9}}}, set()),
        ({"inference": {"flip": False}}, {"train"}),
        ({"bench": {"backbone": "R101"}}, {"train", "seed", "refine", "evaluate"}),
    ],
)
def test_which_fingerprints_an_override_changes(project, change, same):
    before = make_plan(project.experiment(methods=["cam"]), project.runs)
    after = make_plan(project.experiment(methods=["cam"], override={"cam": change}), project.runs)
    shared = {before.stages[key].kind for key in set(before.stages) & set(after.stages)}
    assert shared == same


def test_the_random_seed_changes_every_stage_of_a_trained_method(project):
    zero = make_plan(project.experiment(methods=["cam"], random_seeds=[0]), project.runs)
    one = make_plan(project.experiment(methods=["cam"], random_seeds=[1]), project.runs)
    assert not set(zero.stages) & set(one.stages)


def test_a_refiner_without_its_module_is_left_out_with_a_note(project):
    project.write(
        "configs/refine/densecrf.yaml",
        {"refiner": {"class_path": "fake.CRF"}, "requires": ["no_such_module"]},
    )
    plan = make_plan(
        project.experiment(methods=["cam"], refiners=["densecrf"], random_seeds=[0, 1]), project.runs
    )
    assert kinds(plan)["refine"] == 0
    assert [product.missing for product in plan.products if product.kind == "pseudo_mask"] == [
        "no no_such_module"
    ] * 2
    assert len(plan.notes) == 1


def test_seeds_need_a_threshold(project):
    content = copy.deepcopy(METHODS["cam"])
    del content["bench"]["threshold"]
    project.write("configs/methods/cam.yaml", content)
    with pytest.raises(ConfigError, match=r"cam.yaml: bench.threshold: a method with seeds needs"):
        make_plan(project.experiment(), project.runs)


def test_description_has_states_and_estimated_times(project):
    file = project.experiment(methods=["cam"])
    train, seed, *_ = make_plan(file, project.runs).stages.values()
    write_manifest(
        train.path,
        {"kind": "train", "title": train.title, "fingerprint": train.fingerprint, "wall_seconds": 75.0},
    )
    seed.write_plan()
    lines = list(describe(make_plan(file, project.runs), StageFolder(project.runs)))
    assert lines[0].endswith("complete, skipped")
    assert lines[1].endswith("interrupted, resumes")
    assert " ?  new" in next(line for line in lines if "refine" in line)  # an unknown refiner
    assert lines[-1].startswith("5 stages: 1 complete, 4 to run, stage time ")
    assert "+ 2 of unknown length (?) (2 model)" in lines[-1]  # what is scored has a known cost
    plan = make_plan(project.experiment(methods=["cam"], random_seeds=[7]), project.runs)
    lines = list(describe(plan, StageFolder(project.runs)))
    assert "1 min 15 s  new" in lines[0]  # from the run with another seed
    assert "(1 recorded, " in lines[-1]


def test_a_folder_named_by_another_row_is_found(project):
    train, *_ = make_plan(project.experiment(methods=["cam"]), project.runs).stages.values()
    renamed = train.path.with_name(train.path.name.replace("cam", "ablation"))
    renamed.mkdir(parents=True)
    again, *_ = make_plan(project.experiment(methods=["cam"]), project.runs).stages.values()
    assert again.path == renamed
    write_manifest(renamed, {"fingerprint": "0" * 64})
    with pytest.raises(ConfigError, match="holds the result of another configuration"):
        make_plan(project.experiment(methods=["cam"]), project.runs)


def test_clock():
    assert [clock(s) for s in (0.4, 59, 61, 3600, 7500)] == [
        "0 s",
        "59 s",
        "1 min 01 s",
        "1 h 00 min",
        "2 h 05 min",
    ]


def test_a_dry_run_of_many_stages_imports_no_torch(project):
    file = project.experiment(random_seeds=list(range(12)))
    program = (
        "import sys; from wsss_bench.bench import first_checks; from wsss_bench.cli import main; "
        "first_checks.check_stages_to_run = lambda *_, **__: None; "  # else a process that imports torch
        f"status = main(['bench', {str(file)!r}, '--dry-run', '--runs', {str(project.runs)!r}]); "
        "loaded = {'torch', 'lightning', 'matplotlib'} & set(sys.modules); "
        "assert not loaded, loaded; sys.exit(status)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "152 stages: 0 complete, 152 to run" in result.stdout
    assert not project.runs.exists()


def test_configurations_that_differ_in_random_seed_and_paths_only_are_checked_once(project):
    one, three = (
        distinct(make_plan(project.experiment(random_seeds=seeds), project.runs).stages.values())
        for seeds in ([0], [0, 1, 2])
    )
    assert [stage.title for stage in three] == [stage.title for stage in one]
    changed = project.experiment(override={"cam": {"trainer": {"max_epochs": 7}}})
    titles = [stage.title for stage in distinct(make_plan(changed, project.runs).stages.values())]
    assert titles == [stage.title for stage in one]


def test_a_method_without_threshold_has_segmentations_only(project):
    content = copy.deepcopy(METHODS["zero"])
    del content["bench"]["threshold"]
    project.write("configs/methods/zero.yaml", content)
    plan = make_plan(project.experiment(methods=["zero"]), project.runs)
    assert {stage.kind for stage in plan.stages.values()} == {"predict", "crf", "evaluate"}
