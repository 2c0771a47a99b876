"""The evaluate stage against plain counts of pixels, and on input that it must refuse."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from fake_source import FakeSource, write_masks, write_seeds
from PIL import Image
from wandb_files import offline_runs

from wsss_bench.artifacts.files import is_complete, mask_path, read_mask, write_mask
from wsss_bench.artifacts.seeds import read_seed, write_seed
from wsss_bench.cli import main as command_line
from wsss_bench.metrics.boundary import near_boundary
from wsss_bench.metrics.functional import confusion, iou, mean_iou
from wsss_bench.metrics.per_image import read_per_image
from wsss_bench.readout import threshold_mask
from wsss_bench.stages.evaluate import evaluate, main, parse
from wsss_bench.stages.thresholds import holdout_ids, thresholds_with


def pooled(source, ids, prediction):
    """The confusion matrix of `prediction(id)`, image by image."""
    return sum(confusion(prediction(name), source.mask(name), 4) for name in ids)


def near(source, ids, prediction):
    """IoU over the pixels near a boundary, image by image."""
    matrix = sum(confusion(prediction(name), near_boundary(source.mask(name)), 4) for name in ids)
    return [None if np.isnan(value) else pytest.approx(value) for value in iou(matrix).tolist()]


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture
def source():
    return FakeSource()


@pytest.mark.slow
@pytest.mark.parametrize("stride", [1, 3])
def test_three_threshold_rules_from_one_pass(source, tmp_path, stride):
    write_seeds(source, tmp_path / "seed" / "seeds", stride)
    evaluate(
        source, "val", seeds=tmp_path / "seed", dataset="fake", image_labels="given", scales="ms",
        threshold=0.305, holdout=2, count=7, out=tmp_path / "out", resolved={},
    )  # fmt: skip
    result = metrics(tmp_path / "out")
    ids = source.ids("val")

    def naive(threshold, names):
        masks = {
            name: threshold_mask(read_seed(tmp_path / "seed" / "seeds", name), threshold) for name in names
        }
        return pooled(source, names, masks.__getitem__)

    chosen_on = sorted(holdout_ids(ids, 2))
    others = [name for name in ids if name not in chosen_on]
    grid = thresholds_with(0.305)
    curve = [float(mean_iou(naive(t, ids))) for t in grid]
    best = grid[int(np.argmax(curve))]
    chosen = grid[int(np.argmax([mean_iou(naive(t, chosen_on)) for t in grid]))]
    assert result["curve"] == {"threshold": grid, "miou": pytest.approx(curve)}
    expected = [("fixed", 0.305, ids), ("heldout", chosen, others), ("oracle", best, ids)]
    for index, (row, (rule, threshold, names)) in enumerate(zip(result["rows"], expected, strict=True)):
        matrix = naive(threshold, names)
        assert (row["rule"], row["threshold"], row["n_images"]) == (rule, threshold, len(names))
        assert row["miou"] == pytest.approx(mean_iou(matrix))
        assert row["iou"] == pytest.approx(iou(matrix).tolist())
        assert row["headline"] == (rule == "fixed")
        stored = read_per_image(tmp_path / "out" / "confusions.npz", index, 4)
        np.testing.assert_array_equal(stored.class_sums().sum(0)[4:8], matrix.sum(1))
        np.testing.assert_array_equal(
            stored.class_sums()[ids.index(others[0])][:4], naive(threshold, others[:1]).diagonal()
        )
    assert [row["protocol"] for row in result["rows"]] == [
        "fake-val/n7/labels-given/ms/raw/thr-fixed-0.30/last",
        "fake-val/n5/labels-given/ms/raw/thr-heldout/last",
        "fake-val/n7/labels-given/ms/raw/thr-oracle/last",
    ]
    assert result["rows"][2]["miou"] >= result["rows"][0]["miou"]
    masks = {name: threshold_mask(read_seed(tmp_path / "seed" / "seeds", name), 0.305) for name in ids}
    assert result["rows"][0]["boundary_iou"] == near(source, ids, masks.__getitem__)
    assert [row["boundary_iou"] for row in result["rows"][1:]] == [None, None]


def test_every_read_out_is_scored_and_the_single_scale_raw_one_ranks(source, tmp_path, capsys):
    for name, wrong in (("ss-raw", 0.3), ("ms-raw", 0.2), ("ss-crf", 0.1), ("ms-crf", 0.0)):
        write_masks(source, tmp_path / "predict" / "masks" / name, wrong)
    evaluate(source, "val", masks=tmp_path / "predict", dataset="fake", out=tmp_path / "out", resolved={})
    result = metrics(tmp_path / "out")
    assert [f"{f['scales']}-{f['post']}" for f in result["rows"]] == [
        "ss-raw",
        "ss-crf",
        "ms-raw",
        "ms-crf",
    ]
    assert [f["headline"] for f in result["rows"]] == [True, False, False, False]
    assert result["rows"][3]["miou"] == 1.0
    assert (result["product"], result["curve"]) == ("segmentation", None)
    for row in result["rows"]:
        folder = tmp_path / "predict" / "masks" / f"{row['scales']}-{row['post']}"
        matrix = pooled(
            source, source.ids("val"), lambda name, folder=folder: read_mask(mask_path(folder, name))
        )
        assert row["miou"] == pytest.approx(mean_iou(matrix))
        masks = {name: read_mask(mask_path(folder, name)) for name in source.ids("val")}
        assert row["boundary_iou"] == near(source, source.ids("val"), masks.__getitem__)
        assert row["false_positive_background"] == pytest.approx(matrix[0, 1:].sum() / matrix[0].sum())
        assert row["false_negative_background"] == pytest.approx(matrix[1:, 0].sum() / matrix[1:].sum())
    assert (tmp_path / "out" / "stage.json").is_file()
    with Image.open(tmp_path / "out" / "panels.png") as panels:
        assert panels.size == (480, 7 * 160)
    assert "fake-val/n7/labels-none/ss/raw/thr-na/last: mIoU" in capsys.readouterr().out


def test_a_folder_of_masks_is_scored_from_the_command_line(source, tmp_path, capsys):
    write_masks(source, tmp_path)
    arguments = ["--masks", str(tmp_path), "--source.class_path", "fake_source.FakeSource", "--split", "val"]
    assert main(arguments) == 0
    assert "fakesource-val/n7/labels-none/ss/raw/thr-na/last: mIoU" in capsys.readouterr().out
    assert len(list(tmp_path.iterdir())) == 7


def test_classes_that_do_not_occur_are_listed(tmp_path):
    source = FakeSource(1)
    write_masks(source, tmp_path / "masks", wrong=0.0)
    evaluate(source, "val", masks=tmp_path / "masks", out=tmp_path / "out", resolved={})
    row = metrics(tmp_path / "out")["rows"][0]
    seen = {0, *np.flatnonzero(source.labels("image000")) + 1}
    names = ("background", *source.class_names)
    assert row["absent"] == [name for index, name in enumerate(names) if index not in seen]
    assert len(row["absent"]) >= 1
    assert [value is None for value in row["iou"]] == [index not in seen for index in range(4)]


def test_the_same_input_gives_the_same_bytes_also_after_a_kill(source, tmp_path, monkeypatch):
    write_seeds(source, tmp_path / "seeds")

    def score(out):
        evaluate(source, "val", seeds=tmp_path / "seeds", threshold=0.3, holdout=2, out=out, resolved={})

    score(tmp_path / "whole")
    monkeypatch.setattr(source, "mask", lambda name: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        score(tmp_path / "killed")
    assert not (tmp_path / "killed" / "stage.json").exists()
    monkeypatch.undo()
    score(tmp_path / "killed")
    for name in ("metrics.json", "confusions.npz", "panels.png"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_holdout_images_depend_on_their_ids_only():
    ids = [f"image{index}" for index in range(50)]
    assert holdout_ids(ids, 5) == holdout_ids(ids[::-1], 5)
    assert len(holdout_ids(ids, 5)) == 5
    assert holdout_ids(ids, 5) < holdout_ids(ids, 9)
    with pytest.raises(ValueError, match="50 images"):
        holdout_ids(ids, 50)


def test_a_seed_without_classes_is_background(source, tmp_path):
    write_seeds(source, tmp_path)
    maps = read_seed(tmp_path, "image003")
    write_seed(tmp_path, maps._replace(classes=maps.classes[:0], scores=maps.scores[:0]))
    evaluate(source, "val", seeds=tmp_path, threshold=0.3, out=tmp_path / "out", resolved={})
    stored = read_per_image(tmp_path / "out" / "confusions.npz", 0, 4).class_sums()[3]
    assert stored[8:].tolist() == [stored[4:8].sum(), 0, 0, 0]  # predicted


def spoil_size(folder):
    write_mask(folder, "image002", np.zeros((5, 6), np.uint8))


def spoil_value(folder):
    write_mask(folder, "image002", np.full((26, 28), 255, np.uint8))


def spoil_colours(folder):
    Image.new("RGB", (28, 26)).save(mask_path(folder, "image002"))


def spoil_bytes(folder):
    path = mask_path(folder, "image002")
    path.write_bytes(path.read_bytes()[:60])


def spoil_presence(folder):
    mask_path(folder, "image002").unlink()


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (spoil_size, ValueError, "image 'image002' is 5x6 .height x width., its ground truth is 26x28"),
        (spoil_value, ValueError, r"image 'image002' holds the values \[255\]"),
        (spoil_colours, ValueError, r"image002.png is a RGB image"),
        (spoil_bytes, ValueError, "image002.png cannot be decoded"),
        (spoil_presence, FileNotFoundError, "no mask for 1 images of split 'val': image002;"),
    ],
)
def test_broken_masks_are_named(source, tmp_path, spoil, error, message):
    write_masks(source, tmp_path / "masks")
    spoil(tmp_path / "masks")
    with pytest.raises(error, match=message):
        evaluate(source, "val", masks=tmp_path / "masks", out=tmp_path / "out", resolved={})
    assert not (tmp_path / "out" / "stage.json").exists()


def test_broken_seeds_are_named(source, tmp_path):
    def score():
        evaluate(source, "val", seeds=tmp_path, threshold=0.3, resolved={})

    write_seeds(source, tmp_path)
    (shard,) = tmp_path.glob("*.seeds")
    whole = shard.read_bytes()
    damaged = bytearray(whole)
    damaged[whole.index(b'"image005"') - 50] ^= 1  # in the record before it
    shard.write_bytes(damaged)
    with pytest.raises(
        ValueError, match=r"00000\.seeds: the seed of image 'image004' is not readable \(.*checks"
    ):
        score()
    shard.write_bytes(whole)
    write_seed(tmp_path, read_seed(tmp_path, "image004")._replace(classes=np.array([1, 9], np.uint8)[:1] * 9))
    with pytest.raises(ValueError, match="image004"):
        score()
    shard.write_bytes(whole[: whole.index(b'"image001"') + 50])  # the first is whole
    with pytest.raises(FileNotFoundError, match=r"no seed for 6 images .*image001, .*image005, \.\.\.;"):
        score()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one"),
        ({"seeds": "a", "masks": "b", "threshold": 0.3}, "exactly one"),
        ({"seeds": "a"}, "need --threshold"),
        ({"masks": "b", "threshold": 0.3}, "leave out --threshold"),
        ({"masks": "b", "split": "empty"}, "'empty' is empty"),
        ({"masks": "b", "count": 8}, "has 7 images, the protocol says 8"),
        ({"masks": "nowhere"}, "is no folder"),
    ],
)
def test_options_that_do_not_fit(source, options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        evaluate(source, **{"split": "val", **options}, resolved={})


def test_a_threshold_outside_its_range(source, tmp_path):
    write_seeds(source, tmp_path)
    with pytest.raises(ValueError, match="threshold is 30; expected"):
        evaluate(source, "val", seeds=tmp_path, threshold=30, resolved={})


def test_a_typo_in_the_configuration_is_found_without_building_anything(tmp_path, capsys):
    config = {"source": {"class_path": "fake_source.FakeSource"}, "split": "val", "masks": "m", "post": "raw"}
    parse(config)
    with pytest.raises(Exception, match="holduot"):
        parse({**config, "holduot": 3})
    file = tmp_path / "plan.yaml"
    file.write_text(json.dumps({**config, "masks": str(tmp_path / "none")}))
    assert command_line(["evaluate", "--config", str(file)]) == 1
    assert "is no folder" in capsys.readouterr().err


def test_a_wrong_option_ends_in_one_line(capsys):
    assert command_line(["evaluate", "--spilt", "val"]) != 0
    assert "spilt" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.slow
def test_masks_are_scored_without_torch_and_in_little_memory(voc_root, tmp_path):
    """torch alone would take 500 MB, and longer than to score VOC val."""
    code = (
        "import re, sys; from wsss_bench.cli import main; status = main(sys.argv[1:]);"
        # unlike ru_maxrss, without what the parent had when it forked
        r"kilobytes = int(re.search(r'VmHWM:\s+(\d+)', open('/proc/self/status').read())[1]);"
        "print(status, 'torch' in sys.modules, kilobytes // 1024)"
    )
    arguments = [
        "--source.class_path",
        "VOC",
        "--source.init_args",
        f"{{root: {voc_root}, vocabulary: mini}}",
    ]
    arguments += [
        "--masks",
        str(voc_root / "SegmentationClass"),
        "--split",
        "val",
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, "evaluate", *arguments],
        capture_output=True, text=True, check=True, env={**os.environ, "WANDB_MODE": "offline"},
    )  # fmt: skip
    status, torch, megabytes = done.stdout.split()[-3:]
    assert (status, torch) == ("0", "False")
    assert int(megabytes) < 200


def test_wandb_gets_scores_classes_and_masks(tmp_path, monkeypatch):
    source = FakeSource(number=20)
    write_masks(source, tmp_path / "masks")
    out = tmp_path / "evaluate-fake"
    monkeypatch.setenv("WANDB_MODE", "offline")
    evaluate(source, "val", masks=tmp_path / "masks", dataset="fake", out=out, resolved={"split": "val"})
    (run,) = offline_runs(out)
    (row,) = metrics(out)["rows"]
    assert run.summary["evaluate/ss_raw"] == pytest.approx(100 * row["miou"])
    assert run.config["protocol"] == row["protocol"]
    assert run.config["resolved"] == {"split": "val"}
    names = ["background", *source.class_names]
    expected = [
        ["ss_raw", name, pytest.approx(100 * iou)] for name, iou in zip(names, row["iou"], strict=True)
    ]
    assert run.table("per_class") == expected

    shown = [f"image{index:03d}" for index in range(0, 20, 3)]  # at most eight, whatever the method
    (images,) = (value for key, value in run.summary.items() if key == "images/val.captions")
    assert images == shown
    labels = run.config["_wandb"]["mask/class_labels"]
    assert {key.rpartition("_")[2] for key in labels} == {"truth", "prediction"}
    for entry in labels.values():
        assert entry["value"] == {**{str(k): name for k, name in enumerate(names)}, "255": "ignored"}
    masks = run.summary["images/val.all_masks"]
    for name, drawn in zip(shown, masks, strict=True):
        for key, mask in (
            ("truth", source.mask(name)),
            ("prediction", read_mask(tmp_path / f"masks/{name}.png")),
        ):
            with Image.open(run.files / drawn[key]["path"]) as file:
                assert np.array_equal(np.asarray(file), mask)


def test_an_error_of_wandb_does_not_cost_the_evaluation(source, tmp_path, monkeypatch, capsys):
    write_masks(source, tmp_path / "masks")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr("wandb.init", lambda **_: 1 / 0)
    evaluate(source, "val", masks=tmp_path / "masks", out=tmp_path / "out", resolved={})
    assert is_complete(tmp_path / "out")
    assert "W&B has no run of this stage (ZeroDivisionError" in capsys.readouterr().out


class WithoutBackground(FakeSource):
    has_background = False

    def mask(self, image_id):
        truth = super().mask(image_id)
        return np.where(truth == 0, np.uint8(255), truth)


def test_without_background_the_mean_is_over_the_classes_and_predicted_background_is_refused(tmp_path):
    source = WithoutBackground()
    for name in source.ids("val"):  # one wrong class everywhere: right where the truth is 1
        write_mask(tmp_path / "masks", name, np.full(source.mask(name).shape, 1, np.uint8))
    evaluate(source, "val", masks=tmp_path / "masks", out=tmp_path / "out", resolved={})
    row = metrics(tmp_path / "out")["rows"][0]
    truth = np.concatenate([source.mask(name).ravel() for name in source.ids("val")])
    expected = [(truth == 1).sum() / (truth != 255).sum(), 0.0, 0.0]
    assert row["iou"] == [None, *map(pytest.approx, expected)]
    assert row["miou"] == pytest.approx(np.mean(expected))
    assert row["false_positive_background"] is None
    assert row["false_negative_background"] is None  # not 0: nothing could be missed
    assert row["absent"] == []
    write_mask(tmp_path / "masks", "image003", np.zeros(source.mask("image003").shape, np.uint8))
    with pytest.raises(ValueError, match=r"'image003' holds background \(0\) on \d+ pixels that count"):
        evaluate(source, "val", masks=tmp_path / "masks", resolved={})
