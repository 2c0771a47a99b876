"""What a plan says about costs: its arithmetic on planted numbers, and that all that ships was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from wsss_bench.artifacts.files import write_manifest
from wsss_bench.bench.planned_costs import PlannedCosts
from wsss_bench.crf import densecrf
from wsss_bench.plan.config_folder import METHODS, REFINE, SEGMENTERS
from wsss_bench.plan.costs import devices, model, networks
from wsss_bench.plan.costs.calibration import Probe, add_probes, probe_key, read_probes
from wsss_bench.plan.costs.data_facts import DataFacts, facts_of
from wsss_bench.plan.costs.devices import CPU, GPUS, Device, named_device
from wsss_bench.plan.costs.estimates import Estimates
from wsss_bench.plan.costs.images import seconds_of
from wsss_bench.plan.costs.model import Run
from wsss_bench.plan.costs.networks import Loading, Network, Pass, Polynomial, network_of
from wsss_bench.plan.costs.schedule import Schedule, passes_of, schedule_of
from wsss_bench.plan.description import describe
from wsss_bench.plan.plan import StageFolder
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.reader import read_configs
from wsss_bench.plan.schema import ConfigError
from wsss_bench.shipped import CONFIGS

GPU = Device("GPU", 24, bf16=10e9, float32=2e9, cores=4)
NETWORK = Network(
    parameters=1000,
    trained=500,
    cpu_rate=1e9,
    bf16_share=0.5,
    loading=Loading(0.01, 100),
    step=Pass(Polynomial(pixel=2e9), calls=10, saved_bytes=Polynomial(pixel=1e6)),
    forward={"seed": Pass(Polynomial(pixel=1e9), 5), "segmentation": Pass(Polynomial(pixel=1e9), 5)},
)
FACTS = DataFacts({"train": 100, "val": 20}, (100, 200), 4)


def training(**changes):
    config = {
        "model": {"class_path": "a.B", "init_args": {"optim": {"name": "adamw"}}},
        "data": {"global_batch_size": 10, "transform": {"crop_size": 200}, "train_split": "train"},
        "trainer": {"max_epochs": 3, "limit_val_batches": 0},
    }
    return config | changes


@pytest.fixture
def planted(monkeypatch):
    """The only known network is `a.B`, with planted numbers."""
    found = {"a.B": NETWORK}
    monkeypatch.setattr(model, "network_of", lambda given: found.get(given["class_path"]))


def test_a_cost_is_the_sum_of_its_terms():
    cost = Polynomial(image=1, pixel=10, pixel2=100, pair_pixel=1000, class_pixel=10000)
    assert cost(2, 0.5, 3) == pytest.approx(2 * (1 + 5 + 25 + 15000) + 4 * 500)


@pytest.mark.parametrize(
    ("data", "trainer", "expected"),
    [
        ({}, {"max_epochs": 3}, Schedule(30, 3)),
        ({"drop_last": False, "global_batch_size": 30}, {"max_epochs": 2}, Schedule(8, 2)),
        ({}, {"max_steps": 25}, Schedule(25, 2)),
        ({}, {"max_epochs": 3, "max_steps": 7}, Schedule(7, 0)),
        ({"epoch_length": 4}, {"max_epochs": 6, "check_val_every_n_epoch": 3}, Schedule(24, 2)),
        ({"val_split": None}, {"max_epochs": 1}, Schedule(10, 0)),
        ({}, {"max_epochs": 2, "limit_train_batches": 0.5}, Schedule(10, 2)),
        ({}, {"max_epochs": 2, "limit_val_batches": 0}, Schedule(20, 0)),
    ],
)
def test_the_schedule_of_a_training(data, trainer, expected):
    assert schedule_of({"global_batch_size": 10, **data}, trainer, 100) == expected


@pytest.mark.parametrize(("workers", "expected"), [(0, 0.4 + 0.8), (1, 0.8), (4, 0.8)])
def test_a_step_loads_beside_the_network_where_workers_load(planted, workers, expected):
    # 10 images of 0.04 megapixels: 0.8 GFLOP at 1 GFLOP/s; loading 10 x 0.01 s x (200 / 100)^2
    config = training()
    config["data"]["num_workers"] = workers
    assert model.step_seconds(config, FACTS, Run(CPU)) == pytest.approx(expected)
    assert model.seconds("train", config, FACTS, Run(CPU)) == pytest.approx(
        30 * expected + model.FIXED_SECONDS
    )


def test_loading_bounds_the_step_of_a_fast_gpu(planted):
    config = training()
    config["data"]["num_workers"] = 2
    assert model.step_seconds(config, FACTS, Run(GPU, precision="bf16-mixed")) == pytest.approx(
        0.8
    )  # computing
    fast = replace(GPU, bf16=10e12)
    assert model.step_seconds(config, FACTS, Run(fast, precision="bf16-mixed")) == pytest.approx(
        0.2
    )  # loading
    config["data"]["num_workers"] = 10**9
    slow_start = model.step_seconds(config, FACTS, Run(fast, precision="bf16-mixed"))
    assert slow_start == pytest.approx(0.8e9 / 1e12)
    many = replace(NETWORK, step=replace(NETWORK.step, calls=10**6))
    assert model.compute_seconds(many, many.step, Run(fast), 1, 0.04) == pytest.approx(10)


def test_validation_adds_a_third_of_a_step_for_each_batch(planted):
    config = training(trainer={"max_epochs": 3})
    without = model.seconds("train", training(), FACTS, Run(CPU))
    step = model.step_seconds(config, FACTS, Run(CPU))
    assert model.seconds("train", config, FACTS, Run(CPU)) == pytest.approx(without + 3 * 2 * step / 3)
    masks = config | {"masks": "runs/stages/refine"}  # no ground truth then, so no validation
    assert model.seconds("segment", masks, FACTS, Run(CPU)) == pytest.approx(without)


def test_memory_is_weights_gradients_state_and_saved_activations(planted):
    saved = 10 * 0.04 * 1e6
    weights = 4 * 1000 + (4 + 8) * 500
    run = Run(GPU)
    assert model.training_memory(training(), FACTS, run) == pytest.approx(
        weights + saved + model.CONTEXT_BYTES
    )
    mixed = model.training_memory(training(), FACTS, replace(run, precision="bf16-mixed"))
    assert mixed == pytest.approx(weights + 2 * 1000 + saved / 2 + model.CONTEXT_BYTES)
    shared = model.training_memory(training(), FACTS, replace(run, ranks=5))
    assert shared == pytest.approx(weights + saved / 5 + model.CONTEXT_BYTES)
    sgd = training(model={"class_path": "a.B", "init_args": {"optim": {"name": "sgd"}}})
    assert model.training_memory(sgd, FACTS, run) == pytest.approx(
        weights - 8 * 500 + saved + model.CONTEXT_BYTES
    )


def test_what_stays_in_float32_gains_nothing_in_mixed_precision(planted, monkeypatch):
    full, mixed = Run(GPU), Run(GPU, precision="bf16-mixed")

    def step(share, run):
        network = replace(NETWORK, bf16_share=1.0, step=replace(NETWORK.step, float32_share=share))
        monkeypatch.setattr(model, "network_of", lambda given: network)
        return model.step_seconds(training(), FACTS, run)

    in_float32, in_bf16 = 10 * 0.04 * 2e9 / 1e9, 10 * 0.04 * 2e9 / 1e9
    assert step(1.0, full) == step(1.0, mixed) == step(0.0, full) == pytest.approx(in_float32)
    assert model.training_memory(training(), FACTS, mixed) == pytest.approx(
        model.training_memory(training(), FACTS, full) + 2 * 1000  # the last share is 0
    )
    fast = replace(mixed, device=replace(GPU, bf16=40e9))
    assert step(1.0, fast) == pytest.approx(in_float32)
    assert model.training_memory(training(), FACTS, mixed) == model.training_memory(training(), FACTS, full)
    assert step(0.0, fast) == pytest.approx(in_bf16 / 4)
    assert step(0.3, fast) == pytest.approx(0.3 * in_float32 + 0.7 * in_bf16 / 4)
    forward = replace(NETWORK.forward["seed"], float32_share=0.5)
    slow, quick = (model.compute_seconds(NETWORK, forward, run, 1, 0.04) for run in (full, fast))
    assert quick == pytest.approx(slow * 0.625)


@pytest.mark.parametrize(
    ("name", "step", "seed"),
    [("mcis", 1.0, 0.0), ("mcis_group", 1.0, 0.5), ("cam", 0.0, 0.0), ("clip_es", None, 1.0)],
)
def test_what_is_float32_in_mixed_precision_is_known(name, step, seed):
    content = read_configs(CONFIGS).method(name, "voc", {"accelerator": "cpu", "devices": 1})
    found = network_of({"class_path": content.model.class_path, "init_args": content.model.init_args})
    assert found is not None
    assert (found.step and found.step.float32_share) == step
    assert found.forward["seed"].float32_share == pytest.approx(seed, abs=0.05)


@pytest.mark.parametrize(
    ("name", "bf16"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA GeForce RTX 3090", 71e12),
        ("NVIDIA RTX A1000", None),
        ("NVIDIA GeForce RTX 3090 Ti", 71e12),
        ("Tesla V100-SXM2-16GB", None),
    ],
)
def test_a_gpu_is_known_by_its_whole_name(name, bf16):
    found = devices._recognised(name, " 81920", 1)
    assert (found and found.bf16) == bf16


def test_passes_of_a_prediction():
    seed = {"inference": {"scales": [1.0, 0.5], "flip": True}}
    assert list(passes_of(seed, "seed", (100, 200))) == [(2, 0.02, 1), (2, 0.005, 1)]
    masks = {"inference": {}, "scales": [0.5]}
    assert list(passes_of(masks, "segmentation", (100, 200))) == [(2, 0.005, 1), (1, 0.02, 1)]
    readout = masks | {"readouts": {"own": {"scales": [2.0]}}}
    assert list(passes_of(readout, "segmentation", (100, 200)))[-1] == (2, 0.08, 1)
    # resized to 448 x 896; windows of 448 every 224 pixels: 1 x 3
    sides = {"stretch_to": 16, "long_side": 250}
    assert list(passes_of({"inference": sides}, "seed", (375, 500))) == [(1, 192 * 256 / 1e6, 1)]
    assert list(passes_of({"inference": {"squash": 320}}, "seed", (375, 500))) == [(1, 320 * 320 / 1e6, 1)]
    window = {"inference": {"short_side": 448, "window": 448, "window_stride": 224}}
    assert list(passes_of(window, "seed", (100, 200))) == [(1, 448 * 448 / 1e6, 3)]


def test_seeds_add_the_network_and_the_read_out(planted):
    config = training(product="seed", split="val", inference={"scales": [1.0], "flip": True})
    each = 2 * 0.02 * 1e9 / 1e9 + seconds_of("seed", 0.02, 4)
    assert model.seconds("seed", config, FACTS, Run(CPU)) == pytest.approx(20 * each + model.FIXED_SECONDS)
    assert model.seconds("seed", config | {"split": "unlisted"}, FACTS, Run(CPU)) is None


def test_a_crf_is_no_part_of_the_prediction_and_shares_the_cores_of_its_stage(planted):
    config = {"split": "val", "crf": {}}
    alone, four = (model.seconds("crf", config, FACTS, Run(device)) for device in (CPU, GPU))
    assert alone == pytest.approx(20 * seconds_of("crf", 0.02, 4) + model.FIXED_SECONDS)
    assert alone - model.FIXED_SECONDS == pytest.approx(4 * (four - model.FIXED_SECONDS))
    predicted = training(product="segmentation", split="val", inference={}, scales=[])
    with_and_without = [
        model.seconds("predict", predicted | {"crf": crf}, FACTS, Run(CPU)) for crf in (True, False)
    ]
    assert with_and_without[0] == with_and_without[1] > model.FIXED_SECONDS


def test_refiners_share_the_cores_of_a_stage():
    config = {"split": "train", "refiner": {"class_path": "wsss_bench.refine.pamr.PAMRRefiner"}}
    alone, four = (model.seconds("refine", config, FACTS, Run(device)) for device in (CPU, GPU))
    assert alone - model.FIXED_SECONDS == pytest.approx(4 * (four - model.FIXED_SECONDS))


def test_facts_of_the_data():
    folder = read_configs(CONFIGS)
    known = {name: folder.data(name) for name in folder.names("data")}
    for name, size, classes in (("voc", (375, 500), 20), ("coco", (480, 640), 80), ("mini", (96, 96), 8)):
        found = facts_of({"data": {"source": known[name].source}}, known.values())
        assert (found.size, found.classes) == (size, classes)
        combined = {"class_path": "x", "init_args": {"main": known[name].source}}
        assert facts_of({"source": combined}, known.values()) == found
    assert facts_of({"source": {"class_path": "other"}}, known.values()) is None


SHIPPED = read_configs(CONFIGS)
WORLDS = ("voc", "coco", "mini")


@pytest.mark.parametrize("dataset", WORLDS)
def test_all_shipped_networks_were_measured(dataset):
    trainer = SHIPPED.trainer("cpu")
    specs = {name: SHIPPED.method(name, dataset, trainer) for name in SHIPPED.names(METHODS)}
    specs |= {name: SHIPPED.segmenter(name, dataset, trainer) for name in SHIPPED.names(SEGMENTERS)}
    refiners = {name: SHIPPED.refiner(name, dataset, trainer) for name in SHIPPED.names(REFINE)}
    specs |= {name: refiner.network for name, refiner in refiners.items() if refiner.network}
    for name, spec in specs.items():
        found = network_of({"class_path": spec.model.class_path, "init_args": spec.model.init_args})
        assert found is not None, f"{name} on {dataset}: run python benchmarks/costs/measure.py"
        trains = not hasattr(spec, "bench") or getattr(spec.bench, "trains", True)
        assert (found.step is not None) == trains, name
        assert found.cpu_rate > 1e8, name
    for name, refiner in refiners.items():
        for spec in (refiner.refiner, refiner.affinity_labels):
            if spec is not None:
                assert seconds_of(f"refine {spec.class_path}", 0.1875, 20), name


def test_the_file_says_when_and_with_what_it_was_measured():
    content = networks.measured()
    assert content["command"] == "python benchmarks/costs/measure.py"
    assert (Path(__file__).parents[2] / content["command"].split()[-1]).is_file()
    assert content["torch"]
    assert content["date"]


def test_another_architecture_is_another_network():
    spec = SHIPPED.method("cam", "voc", {}).model
    given = {"class_path": spec.class_path, "init_args": spec.init_args}
    assert network_of(given) is not None
    assert network_of({**given, "init_args": {**spec.init_args, "output_stride": 4}}) is None
    assert network_of({**given, "init_args": {**spec.init_args, "optim": {"lr": 7.0}}}) is not None
    assert network_of({**given, "class_path": "own.CAM"}) is None


def test_devices():
    assert named_device("RTX 3090") == GPUS["rtx3090"]
    assert named_device("cpu") == CPU
    with pytest.raises(ConfigError, match=r"--on: no device 'a10'.*a100"):
        named_device("a10")


@pytest.fixture
def toy(project, planted):
    """A plan with one training of the known network and one of an unknown one."""
    project.write(
        "configs/methods/known.yaml",
        {
            "model": {"class_path": "a.B"},
            "data": {"global_batch_size": 2, "transform": {"crop_size": 200}},
            "trainer": {"max_epochs": 2, "limit_val_batches": 0},
            "bench": {"pipeline": "upper_bound", "supervision": "mask", "backbone": "R50"},
        },
    )
    project.plan = make_plan(project.experiment(methods=["known", "full"]), project.runs)
    return project


def line_of(lines, name):
    return next(line for line in (" ".join(line.split()) for line in lines) if name in line)


def test_recorded_seconds_win_over_probes_and_these_over_the_model(toy):
    folder, plan = StageFolder(toy.runs), toy.plan
    train = next(stage for stage in plan.stages.values() if stage.title == "known-toy-s0")
    lines = list(describe(plan, folder))
    assert "model 3 s new" in line_of(lines, "train known")  # 10 steps of 0.24 s, and the start
    assert "? new" in line_of(lines, "train full")
    assert "of unknown length (?)" in lines[-1]
    assert "model)" in lines[-1]
    (note,) = PlannedCosts(plan, toy.runs).notes(list(plan.stages.values()))
    assert note.startswith("the cost of 1 training(s) (?) is unknown, the first train full-toy-s0: ")
    assert "--calibrate" in note

    add_probes(toy.runs, "some GPU", {probe_key(train.config): Probe(1.5, 2 * 2**30)})
    probes = read_probes(toy.runs, "some GPU")
    assert read_probes(toy.runs, "another") == {}
    calibrated = Estimates(plan, folder, probes=probes)
    assert "calibrated 16 s" in line_of(describe(plan, folder, estimates=calibrated), "train known")
    write_manifest(
        train.path,
        {"kind": "train", "title": "known-toy-s9", "fingerprint": train.fingerprint, "wall_seconds": 75.0},
    )
    recorded = Estimates(plan, StageFolder(toy.runs), probes=probes)
    assert recorded.cost(train).origin == "recorded"
    named = Estimates(plan, StageFolder(toy.runs), GPU, named=True, probes=probes)
    assert named.cost(train).origin == "model"  # of another device


def test_a_probe_is_of_a_network_its_data_and_device_not_of_its_length():
    key = probe_key(training())
    longer = training(trainer={"max_epochs": 9, "limit_val_batches": 0})
    longer["model"] = {"class_path": "a.B", "init_args": {"optim": {"lr": 1.0}}}
    assert probe_key(longer) == key
    assert probe_key(training(trainer={"precision": "bf16-mixed"})) != key
    assert probe_key(training(trainer={"callbacks": [{"class_path": "a.Compiled"}]})) != key
    other = training()
    other["data"]["transform"]["crop_size"] = 201
    assert probe_key(other) != key


def test_a_training_that_does_not_fit_says_what_to_set(toy, monkeypatch):
    large = replace(NETWORK, step=replace(NETWORK.step, saved_bytes=Polynomial(pixel=200 * 2**30)))
    monkeypatch.setattr(model, "network_of", lambda given: large if given["class_path"] == "a.B" else None)
    # 2 images of 0.04 megapixels: 16 GiB, and 0.7 GiB of CUDA
    needs = Estimates(toy.plan, StageFolder(toy.runs), GPU, named=True)
    assert list(needs.too_large(toy.plan.stages, 24)) == []
    (said,) = needs.too_large(toy.plan.stages, 12)
    assert said.startswith("train known-toy-s0 needs about 17 GiB of GPU memory, more than 12 GiB; ")
    assert "trainer.precision: bf16-mixed (9 GiB)" in said
    stage = next(stage for stage in toy.plan.stages.values() if stage.title == "known-toy-s0")
    trainer = {**stage.config["trainer"], "precision": "bf16-mixed"}
    mixed = {"": replace(stage, config={**stage.config, "trainer": trainer})}
    assert list(needs.too_large(mixed, 8.8)) == []
    (said,) = needs.too_large(mixed, 5)
    assert "2 devices (trainer: ddp; 5 GiB each, the same result)" in said
    (said,) = needs.too_large(toy.plan.stages, 1)
    assert "crop_size" in said


def test_without_a_gpu_stages_that_have_no_trainer_run_on_a_core(toy):
    assert PlannedCosts(toy.plan, toy.runs).estimates.run({}).device is CPU


def test_values_that_a_stage_refuses_are_of_unknown_cost(toy):
    stage = next(stage for stage in toy.plan.stages.values() if stage.title == "known-toy-s0")
    for place, value in (("data", {"transform": {"crop_size": "big"}}), ("trainer", {"max_epochs": "ten"})):
        wrong = replace(stage, config={**stage.config, place: {**stage.config[place], **value}})
        assert Estimates(toy.plan, StageFolder(toy.runs)).cost(wrong).seconds is None


@pytest.mark.skipif(not densecrf.available(), reason="pydensecrf is not installed (make crf)")
def test_shipped_voc_fits_or_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("WSSS_DATA", str(tmp_path))
    plan = make_plan(Path("voc"), tmp_path / "runs")
    costs = PlannedCosts(plan, tmp_path / "runs", named_device("rtx3090"))
    seconds = {key: costs.estimates.cost(stage).seconds for key, stage in plan.stages.items()}
    assert all(seconds.values()), [plan.stages[key].name for key, value in seconds.items() if not value]
    segment = next(stage for stage in plan.stages.values() if stage.kind == "segment")
    trainer = {**segment.config["trainer"], "precision": "32-true"}
    single = replace(segment, config={**segment.config, "trainer": trainer})
    (said,) = costs.estimates.too_large({single.fingerprint: single}, 24)
    assert "bf16-mixed" in said
