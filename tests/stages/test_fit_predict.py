"""The stages that have a trainer: resume, refusal of what does not fit, and what is written."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest
import torch
import wandb
import yaml

from wsss_bench.artifacts.files import MANIFEST, is_complete, read_manifest
from wsss_bench.artifacts.layout import LAST, PROGRESS
from wsss_bench.artifacts.seeds import read_seed, seed_ids
from wsss_bench.artifacts.shards import record_sizes
from wsss_bench.cli import main
from wsss_bench.stages import fit, predict, prediction
from wsss_bench.stages.check import check

pytestmark = pytest.mark.slow

SOURCE = {
    "class_path": "wsss_bench.data.sources.voc.VOC",
    "init_args": {"root": "${WSSS_DATA}/mini/voc", "vocabulary": "mini"},
}


def fit_config(out, epochs=3, **changes):
    """CAM with a small random network, a step of which takes milliseconds."""
    return {
        "seed_everything": 1,
        "model": {
            "class_path": "wsss_bench.methods.cam.CAM",
            "init_args": {
                "backbone": "package:mini2/resnet.json",
                "weights": None,
                "freeze_bn": False,
                "frozen_stages": 0,
                "optim": {"name": "adamw", "lr": 1e-3},
            },
        },
        "data": {
            "source": SOURCE,
            "global_batch_size": 8,
            "transform": {"crop_size": 64, "resize_long": [48, 80]},
        },
        "trainer": {
            "accelerator": "cpu",
            "devices": 1,
            "max_epochs": epochs,
            "limit_train_batches": 2,
            "limit_val_batches": 2,
        },
        "out": str(out),
        **changes,
    }


def predict_config(out, train, **changes):
    config = fit_config(out)
    config["trainer"].pop("max_epochs")
    config |= {
        "checkpoint": str(train),
        "product": "seed",
        "split": "val",
        "inference": {"scales": [1.0], "flip": False},
    }
    return {**config, **changes}


def run(stage, tmp_path, config):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return stage.main(["--config", str(path)])


def weights(stage):
    return torch.load(stage / LAST, weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, mini_data):
    folder = tmp_path_factory.mktemp("trained")
    run(fit, folder, fit_config(folder / "train"))
    return folder / "train"


def test_an_interrupted_training_ends_with_the_weights_of_an_uninterrupted_one(trained, tmp_path, mini_data):
    config = fit_config(tmp_path / "stopped")
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    process = multiprocessing.get_context("fork").Process(target=fit.main, args=(["--config", str(path)],))
    process.start()
    last = tmp_path / "stopped" / LAST
    while not last.is_file() and process.is_alive():
        time.sleep(0.005)
    process.kill()
    process.join()
    assert last.is_file()
    run(fit, tmp_path, config)
    assert is_complete(tmp_path / "stopped")
    for key, value in weights(trained).items():
        assert torch.equal(value, weights(tmp_path / "stopped")[key]), key


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory, mini_data):
    """A train stage that was killed after its last epoch."""
    folder = tmp_path_factory.mktemp("interrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "keep_newest", lambda stage, resumed_from: None)
        run(fit, folder, fit_config(folder / "train"))
    (folder / "train" / MANIFEST).unlink()
    return folder / "train"


@pytest.mark.parametrize("left", [["previous.ckpt"], []])
def test_after_a_damaged_checkpoint_the_weights_are_those_of_an_uninterrupted_training(
    left, trained, interrupted, tmp_path, mini_data, capsys
):
    out = tmp_path / "damaged"
    shutil.copytree(interrupted, out)
    (out / PROGRESS).write_bytes(b"")
    (out / LAST).write_bytes((out / LAST).read_bytes()[:5000])
    if not left:
        (out / LAST).with_name("previous.ckpt").unlink()
    run(fit, tmp_path, fit_config(out))
    printed = capsys.readouterr().out
    assert f"{out / LAST} is empty, cut off or damaged" in printed
    way = "previous.ckpt, after 4 steps" if left else "the training starts again from its beginning"
    assert way in printed
    assert is_complete(out)
    assert [path.name for path in (out / LAST).parent.iterdir()] == ["last.ckpt"]
    for key, value in weights(trained).items():
        assert torch.equal(value, weights(out)[key]), key


@pytest.mark.parametrize("between", [False, True])
def test_a_kill_around_the_renames_of_the_last_checkpoint_loses_nothing(
    between, trained, interrupted, tmp_path, mini_data
):
    """The newest checkpoint is next.ckpt, and last.ckpt is the one before it, or is renamed already."""
    out = tmp_path / "renames"
    shutil.copytree(interrupted, out)
    (out / LAST).rename((out / LAST).with_name("next.ckpt"))
    if not between:
        (out / LAST).with_name("previous.ckpt").rename(out / LAST)
    run(fit, tmp_path, fit_config(out))
    assert [path.name for path in (out / LAST).parent.iterdir()] == ["last.ckpt"]
    for key, value in weights(trained).items():
        assert torch.equal(value, weights(out)[key]), key


def test_sigterm_ends_a_prediction_at_once(trained, tmp_path, mini_data):
    config = predict_config(tmp_path / "out", trained, inference={"scales": [1.0] * 50, "flip": True})
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    process = multiprocessing.get_context("fork").Process(
        target=predict.main, args=(["--config", str(path)],)
    )
    process.start()
    while not (tmp_path / "out" / PROGRESS).is_file() and process.is_alive():
        time.sleep(0.005)
    process.terminate()
    process.join(2)
    assert process.exitcode == -signal.SIGTERM
    assert not is_complete(tmp_path / "out")


def test_a_checkpoint_is_written_after_each_epoch_not_only_at_the_end(tmp_path, mini_data, monkeypatch):
    written = []
    save = fit.AtomicCheckpointIO.save_checkpoint

    def noted(self, checkpoint, path, storage_options=None):
        save(self, checkpoint, path, storage_options)
        written.append((Path(path), checkpoint["epoch"], checkpoint["global_step"]))

    monkeypatch.setattr(fit.AtomicCheckpointIO, "save_checkpoint", noted)
    config = fit_config(tmp_path / "run")
    config["trainer"]["check_val_every_n_epoch"] = 2
    run(fit, tmp_path, config)
    steps = written[0][2]
    assert written == [(tmp_path / "run" / LAST, epoch, steps * (epoch + 1)) for epoch in range(3)]
    (tmp_path / "run" / MANIFEST).unlink()  # killed after the last epoch: nothing is trained again
    before = weights(tmp_path / "run")
    run(fit, tmp_path, {**config, "out": str(tmp_path / "run")})
    assert len(written) == 3
    assert all(torch.equal(value, before[name]) for name, value in weights(tmp_path / "run").items())
    config = fit_config(tmp_path / "short")
    config["trainer"] |= {"max_epochs": -1, "max_steps": steps + 1}  # ends within an epoch
    run(fit, tmp_path, config)
    assert written[-1][2] == steps + 1


def test_the_manifest_tells_what_was_done(trained):
    manifest = read_manifest(trained)
    assert manifest["kind"] == "train"
    assert manifest["image_count"] == 40
    assert manifest["steps"] == 6
    assert manifest["config"]["model"]["init_args"]["weights"] is None
    assert manifest["params"] == sum(
        v.numel() for k, v in weights(trained).items() if k.endswith(("weight", "bias"))
    )
    assert min(manifest[key] for key in ("wall_seconds", "cpu_seconds", "peak_memory_mb")) > 0
    assert manifest["versions"]["torch"] == torch.__version__.split("+")[0] or manifest["versions"]["torch"]


def test_seeds_are_resumed_not_recomputed(trained, tmp_path, mini_data, capsys):
    out = tmp_path / "seeds"
    run(predict, tmp_path, predict_config(out, trained))
    (shard,) = (out / "seeds").iterdir()
    whole = shard.read_bytes()
    ids = sorted(seed_ids(out / "seeds"))
    assert len(ids) == 16
    shard.write_bytes(whole[: whole.index(f'"{ids[9]}"'.encode()) + 100])  # killed while it wrote the tenth
    assert sorted(seed_ids(out / "seeds")) == ids[:9]
    (out / MANIFEST).unlink()
    run(predict, tmp_path, predict_config(out, trained))
    assert "9 of 16 images are complete" in capsys.readouterr().out
    assert shard.read_bytes() == whole


def test_batches_write_the_seeds_of_single_images_in_their_order(trained, tmp_path, mini_data, monkeypatch):
    """Stopped before the last chunk and resumed with single images, which is the same stage."""
    run(predict, tmp_path, predict_config(tmp_path / "alone", trained))
    expected = tmp_path / "alone" / "seeds"
    monkeypatch.setattr(prediction, "CHUNK_BATCHES", 2)
    sizes = []
    one_batch = prediction.Prediction.predict_batch

    def until_stopped(self, samples):
        sizes.append(len(samples))
        if sum(sizes) > 12 and max(sizes) > 1:
            raise ValueError("stopped")
        return one_batch(self, samples)

    monkeypatch.setattr(prediction.Prediction, "predict_batch", until_stopped)
    out = tmp_path / "batches"
    config = predict_config(out, trained)
    config["inference"] |= {"batch_size": 3}
    with pytest.raises(ValueError, match="stopped"):
        run(predict, tmp_path, config)
    assert max(sizes) == 3
    found = out / "seeds"
    assert 6 <= len(seed_ids(found)) <= 12
    sizes.clear()
    del config["inference"]["batch_size"]
    run(predict, tmp_path, config)
    assert set(sizes) == {1}
    assert list(map(itemgetter(0), record_sizes(found))) == list(map(itemgetter(0), record_sizes(expected)))
    for image_id in seed_ids(expected):
        one, other = read_seed(found, image_id), read_seed(expected, image_id)
        np.testing.assert_array_equal(one.classes, other.classes)
        np.testing.assert_allclose(one.scores, other.scores, atol=0.011)  # two of the levels on disk


def test_two_ranks_write_the_seeds_of_one_process(trained, tmp_path, mini_data):
    """15 images over two ranks: none twice, none missing, the manifest by one of them."""
    (mini_data / "mini/voc/ImageSets/Segmentation/few_odd.txt").write_text(
        "\n".join(f"val_{k:06d}" for k in range(15))
    )
    run(predict, tmp_path, predict_config(tmp_path / "one", trained, split="few_odd"))
    config = predict_config(tmp_path / "two", trained, split="few_odd")
    config["trainer"] |= {"devices": 2, "strategy": "ddp"}
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "wsss_bench", "predict", "--config", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    single, double = (tmp_path / name / "seeds" for name in ("one", "two"))
    assert {path.name for path in double.iterdir()} == {"0-00000.seeds", "1-00000.seeds"}
    assert len(record_sizes(single)) == 15
    assert record_sizes(single) == record_sizes(double)
    for image_id in seed_ids(single):
        np.testing.assert_equal(read_seed(single, image_id), read_seed(double, image_id))
    assert read_manifest(tmp_path / "two")["image_count"] == 15


def test_bf16_trains_and_predicts(tmp_path, mini_data):
    config = fit_config(tmp_path / "train", epochs=1)
    config["trainer"] |= {"precision": "bf16-mixed", "gradient_clip_val": 1.0, "limit_train_batches": 1}
    run(fit, tmp_path, config)
    assert read_manifest(tmp_path / "train")["precision"] == "bf16-mixed"
    config = predict_config(tmp_path / "seeds", tmp_path / "train", split="few")
    config["trainer"]["precision"] = "bf16-mixed"
    run(predict, tmp_path, config)
    maps = read_seed(tmp_path / "seeds" / "seeds", "val_000000")
    assert maps.scores.dtype == np.float16
    assert maps.scores.max() <= 1


def test_seeds_hold_the_labelled_classes(trained, tmp_path, mini_data):
    from wsss_bench.data.sources.voc import VOC

    run(predict, tmp_path, predict_config(tmp_path / "seeds", trained))
    source = VOC("${WSSS_DATA}/mini/voc", vocabulary="mini")
    for image_id in source.ids("val"):
        maps = read_seed(tmp_path / "seeds" / "seeds", image_id)
        assert maps.classes.tolist() == (np.flatnonzero(source.labels(image_id)) + 1).tolist()
        assert maps.size == source.image(image_id).shape[:2]


def test_a_loss_that_turns_nan_names_loss_and_images(tmp_path, mini_data):
    config = fit_config(tmp_path / "nan")
    config["model"]["init_args"]["optim"] = {"name": "sgd", "lr": 1e30}
    with pytest.raises(ValueError, match=r"not finite at step \d+: classification=nan; images train_"):
        run(fit, tmp_path, config)
    assert not is_complete(tmp_path / "nan")


def test_a_checkpoint_of_another_method_is_refused(trained, tmp_path, mini_data):
    config = predict_config(tmp_path / "out", trained, product="segmentation")
    config["model"] = {
        "class_path": "wsss_bench.methods.supervised.Supervised",
        "init_args": {"backbone": "package:mini2/resnet.json", "weights": None},
    }
    config["data"]["view"] = "mask"
    with pytest.raises(
        ValueError, match=r"checkpoint is of wsss_bench\.methods\.cam\.CAM, but the config asks for"
    ):
        run(predict, tmp_path, config)


def test_a_checkpoint_of_another_class_list_is_refused(trained, tmp_path, mini_data):
    config = predict_config(tmp_path / "out", trained)
    config["data"]["source"] = {**SOURCE, "init_args": {"root": "${WSSS_DATA}/mini/voc", "vocabulary": "voc"}}
    with pytest.raises(ValueError, match=r"checkpoint has 8 classes .* source has 20"):
        run(predict, tmp_path, config)


def test_a_missing_checkpoint_is_named(tmp_path, mini_data):
    with pytest.raises(FileNotFoundError, match="run the train stage first"):
        run(predict, tmp_path, predict_config(tmp_path / "out", tmp_path / "nowhere"))


def test_the_wrong_view_names_the_line_to_change(tmp_path, mini_data):
    config = fit_config(tmp_path / "out")
    config["data"]["view"] = "mask"
    with pytest.raises(
        ValueError, match=r"data\.view is mask, .* but CAM trains on ImageBatch; set data\.view: image"
    ):
        run(fit, tmp_path, config)


def test_a_product_that_a_method_does_not_have_is_named(trained, tmp_path, mini_data):
    config = predict_config(tmp_path / "out", trained, product="segmentation")
    with pytest.raises(ValueError, match="CAM makes no segmentation"):
        run(predict, tmp_path, config)


def test_warm_start_takes_the_weights_of_another_stage(trained, tmp_path, mini_data):
    config = fit_config(tmp_path / "warm", epochs=1, warm_start=str(trained))
    config["model"]["init_args"]["optim"] = {"name": "sgd", "lr": 1e-12, "weight_decay": 0.0}
    run(fit, tmp_path, config)
    torch.testing.assert_close(weights(tmp_path / "warm")["head.weight"], weights(trained)["head.weight"])
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*; run the train stage"):
        run(fit, tmp_path, fit_config(tmp_path / "cold", warm_start=str(tmp_path / "nowhere")))


def test_flipped_bytes_of_a_checkpoint_are_refused(trained, tmp_path, mini_data):
    """A checkpoint has no checksum that torch would read: it loads, and gives other seeds."""
    import shutil

    damaged = tmp_path / "damaged"
    shutil.copytree(trained, damaged)
    content = bytearray((damaged / LAST).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(byte ^ 0x55 for byte in content[middle : middle + 64])
    (damaged / LAST).write_bytes(content)
    for stage, config in (
        (predict, predict_config(tmp_path / "seeds", damaged)),
        (fit, fit_config(tmp_path / "warm", warm_start=str(damaged))),
    ):
        with pytest.raises(ValueError, match=r"last\.ckpt is not the file .* makes it again"):
            run(stage, tmp_path, config)
        assert not is_complete(Path(config["out"]))


def test_no_epoch_at_all_is_the_method_as_it_starts(trained, tmp_path, mini_data):
    out = tmp_path / "start"
    assert run(fit, tmp_path, fit_config(out, epochs=0, warm_start=str(trained))) == 0
    assert all(torch.equal(value, weights(out)[name]) for name, value in weights(trained).items())
    assert run(predict, tmp_path, predict_config(tmp_path / "seeds", out)) == 0
    assert is_complete(tmp_path / "seeds")


def test_two_processes_do_not_write_one_stage(tmp_path, mini_data):
    from wsss_bench.artifacts.run import StageInfo, open_stage

    with (
        open_stage(tmp_path, "train", {}, StageInfo()),
        pytest.raises(ValueError, match="another process is working"),
        open_stage(tmp_path, "train", {}, StageInfo()),
    ):
        pass


@pytest.mark.parametrize(
    ("section", "typo", "message"),
    [
        ("data", {"viev": "image"}, "viev"),
        ("data", {"global_batch_size": "many"}, "data.global_batch_size"),
        ("trainer", {"max_epoch": 3}, "max_epoch"),
    ],
)
def test_a_typo_fails_before_anything_is_built(tmp_path, mini_data, section, typo, message):
    config = fit_config(tmp_path / "out")
    config[section] |= typo
    with pytest.raises(ValueError, match=message):
        check("fit", config)


def test_a_typo_in_the_optimiser_is_named(tmp_path, mini_data, capsys):
    config = fit_config(tmp_path / "out")
    config["model"]["init_args"]["optim"]["learning_rate"] = 1
    with pytest.raises(ValueError, match="learning_rate"):
        check("fit", config)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(path)]) != 0
    assert "learning_rate" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_wandb_writes_an_offline_run(tmp_path, mini_data, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    stage = {"experiment": "e", "title": "cam-mini-s1", "fingerprint": "f", "inputs": {}}
    run(fit, tmp_path, fit_config(tmp_path / "train-cam", epochs=1, stage=stage))
    wandb.finish()  # a stage is a process of its own; here the next test would log to this run
    assert list((tmp_path / "train-cam" / "wandb").glob("offline-run-*/*.wandb"))
    monkeypatch.setenv("WANDB_MODE", "somewhere")
    with pytest.raises(ValueError, match="WANDB_MODE is offline, online or disabled"):
        run(fit, tmp_path, fit_config(tmp_path / "train-cam2", epochs=1))


def test_environment_of_the_tests_is_quiet():
    assert os.environ["WANDB_MODE"] == "disabled"
    assert Path(os.environ["WSSS_DATA"]).is_dir()


def test_an_attempt_that_finds_everything_done_tells_the_same_facts(trained, tmp_path, mini_data):
    """After a kill between the last file and the manifest, the next attempt only writes the manifest."""
    out = tmp_path / "seeds"
    run(predict, tmp_path, predict_config(out, trained))
    first = read_manifest(out)
    (out / MANIFEST).unlink()
    noted = json.loads((out / PROGRESS).read_text())["wall_seconds"]  # when the last image was written
    run(predict, tmp_path, predict_config(out, trained))
    second = read_manifest(out)
    assert {k: second[k] for k in ("params", "image_count", "crf")} == {
        k: first[k] for k in ("params", "image_count", "crf")
    }
    assert second["wall_seconds"] > noted
