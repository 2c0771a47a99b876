"""What methods may build on, in trainings and predictions through the command line."""

import json

import planted
import pytest
import torch
import yaml
from test_planted_mistakes import subject

from wsss_bench.artifacts.layout import LAST
from wsss_bench.artifacts.seeds import read_seed, seed_ids, write_seed
from wsss_bench.contract.trial_stages import run
from wsss_bench.inference import logits_of, seeds_of
from wsss_bench.readout import threshold_mask
from wsss_bench.stages import evaluate, fit
from wsss_bench.stages import predict as predict_stage

pytestmark = pytest.mark.slow


def train(one, folder, name):
    trainer = {"max_epochs": 3, "limit_val_batches": 0}
    run(fit, folder, one.config(folder / name, trainer=trainer))
    return torch.load(folder / name / LAST, weights_only=True)["state_dict"]


def test_a_mean_teacher_goes_on_as_if_it_was_not_interrupted(mini_data, tmp_path, monkeypatch):
    one = subject(planted.MeanTeacher, mini_data)
    moments, after_step = [], planted.MeanTeacher.after_step

    def watched(method):
        after_step(method)
        moments.append((method.global_step, method.total_steps, method.progress))

    monkeypatch.setattr(planted.MeanTeacher, "after_step", watched)
    whole = train(one, tmp_path, "whole")
    assert moments == [(step, 6, step / 6) for step in range(6)]

    def interrupted(method):
        after_step(method)
        if method.global_step == 3:
            raise RuntimeError("power cut")

    monkeypatch.setattr(planted.MeanTeacher, "after_step", interrupted)
    with pytest.raises(RuntimeError, match="power cut"):
        train(one, tmp_path, "resumed")
    moments.clear()
    monkeypatch.setattr(planted.MeanTeacher, "after_step", watched)
    resumed = train(one, tmp_path, "resumed")
    assert moments == [(step, 6, step / 6) for step in range(2, 6)]
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())
    start = one.fresh().state_dict()
    assert not torch.equal(whole["teacher.0.weight"], start["teacher.0.weight"])
    assert not torch.equal(whole["teacher.0.weight"], whole["student.0.weight"])


def test_progress_outside_of_a_training_is_what_is_set(mini_data):
    method = subject(planted.MeanTeacher, mini_data).fresh()
    assert (method.global_step, method.total_steps, method.progress) == (0, 1, 0.0)
    method.total_steps, method.progress = 200, 0.25
    assert method.global_step == 50
    with pytest.raises(ValueError, match="progress"):
        method.progress = 1.5
    method.progress = None
    assert method.progress == 0


def test_gradients_at_inference_are_inside_only(mini_data):
    method = subject(planted.GradCAM, mini_data).fresh().eval()
    image = torch.rand(1, 3, 40, 56)
    with torch.no_grad():
        expected = seeds_of(method, image)
    with torch.inference_mode():
        found = seeds_of(method, torch.rand(1, 3, 40, 56).copy_(image))
        assert torch.is_inference_mode_enabled()
    assert torch.equal(found, expected)
    assert not found.requires_grad
    assert all(parameter.grad is None for parameter in method.parameters())
    with torch.no_grad():
        plain = subject(planted.Segmenting, mini_data).fresh().eval()
        assert torch.equal(logits_of(plain, image), plain.segmentation_logits(image))


def predict(one, folder, name):
    config = one.config(folder / name, checkpoint=None)
    config |= {"product": "seed", "split": "few", "inference": one.content.inference}
    run(predict_stage, folder, config)
    return folder / name / "seeds"


def score(folder, one, seeds):
    config = {"source": one.config(folder)["data"]["source"], "split": "few", "seeds": str(seeds)}
    config |= {"threshold": 0.2, "image_labels": "given", "out": str(folder / "scores"), "dataset": "mini"}
    run(evaluate, folder, config)
    return json.loads((folder / "scores" / "metrics.json").read_text())


def test_an_own_background_score_decides_besides_the_threshold(mini_data, tmp_path):
    one = subject(planted.OwnBackground, mini_data)
    seeds = predict(one, tmp_path, "own")
    for image_id in sorted(seed_ids(seeds)):
        maps = read_seed(seeds, image_id)
        assert maps.background.shape == maps.scores.shape[1:] == maps.size
        kept = maps.scores > 0
        assert (maps.scores >= maps.background - 1 / 200)[kept].all()
        assert 0 < kept.mean() < 1
        # a pixel that the background wins is background under every threshold
        assert not threshold_mask(maps, 0.0)[~kept.any(axis=0)].any()
        assert read_seed(predict_plain(mini_data, tmp_path), image_id).background is None
    rows = score(tmp_path, one, seeds)["rows"]
    assert [row["protocol"].split("/")[4] for row in rows] == ["raw+background"] * len(rows)


def predict_plain(mini_data, tmp_path):
    folder = tmp_path / "plain" / "seeds"
    return folder if folder.is_dir() else predict(subject(planted.Segmenting, mini_data), tmp_path, "plain")


def test_seeds_with_and_without_an_own_background_are_not_scored_together(mini_data, tmp_path):
    one = subject(planted.OwnBackground, mini_data)
    seeds, plain = predict(one, tmp_path, "own"), predict_plain(mini_data, tmp_path)
    write_seed(seeds, read_seed(plain, sorted(seed_ids(plain))[1]))
    with pytest.raises(ValueError, match="background score of the method, unlike those before it"):
        score(tmp_path, one, seeds)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [(planted.TooManyChannels, r"expected \(2, 8, h, w\)"), (planted.Negative, "seeds are >= 0")],
)
def test_a_prediction_stops_at_its_first_image(kind, sentence, mini_data, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        predict(subject(kind, mini_data), tmp_path, "wrong")
    assert not list((tmp_path / "wrong").rglob("*.seeds"))


@pytest.mark.parametrize(
    ("bench", "sentence"),
    [
        ({"supervision": "caption"}, "bench.supervision is caption, but MeanTeacher.supervision is image"),
        ({"pipeline": "single_stage"}, "makes no segmentations; define segmentation_logits"),
        ({"trains": False}, "bench.trains is false, but MeanTeacher defines a training_loss"),
        ({"pipeline": "multi_stage"}, "bench.threshold is null, but MeanTeacher makes seeds"),
    ],
)
def test_a_stage_by_hand_compares_class_and_file(bench, sentence, mini_data, tmp_path):
    config = subject(planted.MeanTeacher, mini_data).config(tmp_path / "out", bench=bench)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(ValueError, match=sentence) as found:
        fit.main(["--config", str(path)])
    assert str(path) in str(found.value)
    assert not (tmp_path / "out").exists()
