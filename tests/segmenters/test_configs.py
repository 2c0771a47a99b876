"""Tests that every segmenter of `configs/segmenters` must pass, with its own YAML on the small mini world."""

import shutil

import numpy as np
import paths
import pytest
import torch
import yaml

from wsss_bench.artifacts.files import read_manifest, read_mask, write_mask
from wsss_bench.contract import marker
from wsss_bench.inference import predict
from wsss_bench.inference_config import InferenceConfig
from wsss_bench.methods.optim import build_optimizer
from wsss_bench.plan.reader import read_configs
from wsss_bench.stages import fit
from wsss_bench.stages import predict as predict_stage
from wsss_bench.stages.fit import FitCLI
from wsss_bench.types import InferenceSample

pytestmark = pytest.mark.slow

FOLDER = read_configs(paths.CONFIGS)
SEGMENTERS = sorted(p.stem for p in (FOLDER.root / "segmenters").glob("*.yaml") if "." not in p.stem)
ON_MINI = [name for name in SEGMENTERS if (FOLDER.root / "segmenters" / f"{name}.mini.yaml").is_file()]


def config_of(name, out, **changes):
    """Configuration of a short train stage of a segmenter on the small mini world, in images of 64 pixels."""
    content = FOLDER.segmenter(name, "mini", FOLDER.trainer("cpu"))
    trainer = {**content.trainer, "max_epochs": 1, "limit_train_batches": 2, **changes.pop("trainer", {})}
    config = {
        "seed_everything": 0,
        "model": {"class_path": content.model.class_path, "init_args": content.model.init_args},
        "data": {**content.data, "source": FOLDER.data("mini").source, "global_batch_size": 8},
        "trainer": trainer,
        "out": str(out),
    }
    config["data"]["transform"] |= {"crop_size": 64}
    return {**config, **changes}


def built(name, tmp_path):
    cli = FitCLI(config_of(name, tmp_path / "out"))
    return cli.model, cli.datamodule


def run(stage, tmp_path, config):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    assert stage.main(["--config", str(path)]) == 0


@pytest.mark.parametrize("name", SEGMENTERS)
def test_the_published_schedule_is_a_valid_config_on_voc(name):
    content = FOLDER.segmenter(name, "voc", FOLDER.trainer("gpu"))
    assert content.data["view"] == "mask"
    assert content.trainer["max_steps"] >= 16_000
    config = config_of(ON_MINI[0], "out") | {"model": {**vars(content.model)}, "data": content.data}
    config["data"]["source"] = FOLDER.data("voc").source
    fit.parse(config)


@pytest.mark.parametrize("name", ON_MINI)
def test_a_training_step_reaches_every_trainable_parameter(name, tmp_path, mini_data):
    method, data = built(name, tmp_path)
    method.train()
    (loss,) = method.training_loss(next(iter(data.train_dataloader()))).values()
    loss.backward()
    trainable = {n: p for n, p in method.named_parameters() if p.requires_grad}
    assert [n for n, p in trainable.items() if p.grad is None or not p.grad.any()] == []
    listed = [id(p) for group in method.parameter_groups() for p in group["params"]]
    assert sorted(listed) == sorted(map(id, trainable.values()))


@pytest.mark.parametrize("name", ON_MINI)
def test_a_few_steps_lower_the_loss(name, tmp_path, mini_data):
    method, data = built(name, tmp_path)
    method.train()
    batch = next(iter(data.train_dataloader()))
    optimizer = build_optimizer(method.parameter_groups(), method.optim)
    values = []
    for _ in range(8):
        (loss,) = method.training_loss(batch).values()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.9 * values[0]


@pytest.mark.parametrize("name", ON_MINI)
def test_segmentation_is_independent_of_image_labels_and_accepts_any_image_size(name, tmp_path, mini_data):
    method, data = built(name, tmp_path)
    method.eval()
    image = np.random.default_rng(0).integers(0, 256, (53, 70, 3), dtype=np.uint8)
    config = InferenceConfig(**FOLDER.segmenter(name, "mini", {}).inference)
    with torch.no_grad():
        samples = [InferenceSample("a", image, labels) for labels in (None, np.ones(8, np.float32))]
        first, second = (predict(method, [sample], "segmentation", config)[0]["ms"] for sample in samples)
    assert first.shape == (1 + len(data.class_names), 53, 70)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(("name", "rule"), [("deeplabv2", "stretched"), ("largefov", "Caffe")])
def test_a_spot_is_drawn_where_the_published_network_draws_it(name, rule, tmp_path, mini_data):
    method = marker.sampling(built(name, tmp_path)[0])
    config = InferenceConfig(**FOLDER.segmenter(name, "mini", {}).inference)
    for size in marker.SIZES:
        error = marker.error(method, "segmentation", rule, config, size)
        assert np.abs(error).max() < 0.06, (size, error)


@pytest.mark.parametrize("name", ON_MINI)
def test_training_on_pseudo_masks_and_predicting_from_the_checkpoint(name, tmp_path, mini_data):
    train, refined = tmp_path / "train", tmp_path / "refined"
    source = built(name, tmp_path)[1].source
    for image_id in source.ids("train"):
        write_mask(refined / "masks", image_id, np.full(source.image(image_id).shape[:2], 3, np.uint8))
    trainer = {"limit_train_batches": 1.0, "max_epochs": 10, "max_steps": 12}  # ends within the third epoch
    run(fit, tmp_path, config_of(name, train, masks=str(refined), trainer=trainer))
    assert read_manifest(train)["steps"] == 12
    shutil.rmtree(refined)
    results = []
    for attempt in ("first", "second"):
        config = config_of(
            name, tmp_path / attempt, checkpoint=str(train), product="segmentation", split="val"
        )
        config |= {
            "inference": FOLDER.segmenter(name, "mini", {}).inference,
            "scales": [1.0],
        }
        run(predict_stage, tmp_path, config)
        files = sorted((tmp_path / attempt / "masks" / "ms-raw").glob("*.png"))
        results.append([read_mask(file) for file in files])
    assert len(results[0]) == 16
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)
    # every pixel of every pseudo mask was class 3
    assert np.mean([np.mean(mask == 3) for mask in results[0]]) > 0.9
