"""IRN and PSA: training of the networks, degenerate seeds, and the three stages on the small mini world."""

import numpy as np
import paths
import pytest
import torch
import yaml

from wsss_bench.artifacts.files import mask_path, read_manifest, read_mask
from wsss_bench.crf import densecrf
from wsss_bench.data.sources.voc import VOC
from wsss_bench.exchange import import_command
from wsss_bench.plan.reader import read_configs
from wsss_bench.refine.walk.affinitynet import AffinityNet, majority_labels
from wsss_bench.refine.walk.irn import IRNRefiner, argmax_with_background, scores_after_walk
from wsss_bench.refine.walk.irnet import IRNet
from wsss_bench.refine.walk.psa import PSARefiner
from wsss_bench.stages import fit, refine
from wsss_bench.types import MaskBatch, ScoreMaps

FOLDER = read_configs(paths.CONFIGS)
GOLDEN = paths.GOLDEN / "clims"
MINI = {"backbone": "package:mini2/resnet.json", "weights": None}
CLASSES = ("cat", "dog", "cow")


def irnet():
    return IRNet(CLASSES, output_stride=8, width=4, radius=4, **MINI)


def affinitynet(**changes):
    return AffinityNet(CLASSES, width=4, radius=4, **MINI, **changes)


def batch(value=None):
    """Two crops with a square of class 2 and a border of 255 around it; or masks of a single value."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(2, 64, 64, dtype=torch.int64)
    mask[:, 16:56, 16:56], mask[:, 24:48, 24:48] = 255, 2
    mask = mask if value is None else torch.full_like(mask, value)
    image = torch.rand(2, 3, 64, 64, generator=generator)
    return MaskBatch(["a", "b"], image, mask, torch.ones(2, 64, 64, dtype=torch.bool))


def refiners():
    pair = IRNRefiner(0.3), PSARefiner()
    for refiner, network in zip(pair, (irnet(), affinitynet()), strict=True):
        refiner.network = network.requires_grad_(False).eval()
    return pair


@pytest.mark.parametrize("network", [irnet, lambda: affinitynet(frozen_stages=5)])
def test_a_frozen_backbone_does_not_change(network):
    method = network().train()
    before = {name: value.clone() for name, value in method.backbone.state_dict().items()}
    sum(method.training_loss(batch()).values()).backward()
    assert all(parameter.grad is None for parameter in method.backbone.parameters())
    for name, value in method.backbone.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)  # running statistics too
    trained = [p for group in method.parameter_groups() for p in group["params"] if p.requires_grad]
    assert {id(p) for p in trained} == {id(p) for p in method.parameters() if p.requires_grad}
    assert all(p.grad is not None and p.grad.any() for p in trained)


def test_affinitynet_trains_its_backbone_except_the_first_two_stages():
    method = affinitynet().train()
    sum(method.training_loss(batch()).values()).backward()
    moved = [any(p.grad is not None for p in stage.parameters()) for stage in method.backbone.stages]
    assert moved == [False, False, True, True, True]


@pytest.mark.parametrize("network", [irnet, affinitynet])
def test_masks_of_255_have_no_loss(network):
    losses = network().train().training_loss(batch(255))
    total = sum(losses.values())
    assert total == 0
    total.backward()  # gradients of 0, which other ranks wait for


def test_the_displacement_branch_has_ten_times_the_learning_rate():
    groups = irnet().parameter_groups()
    assert [group.get("lr_scale", 1) for group in groups] == [1, 10]


def test_a_cell_gets_its_most_frequent_label():
    mask = torch.full((1, 8, 16), 255)
    mask[0, :, :5] = 3
    mask[0, :, 8:11] = 2
    assert majority_labels(mask).tolist() == [[[3, 255]]]


def test_maps_after_the_walk_become_labels_as_in_irn():
    reference = np.load(GOLDEN / "irn_random_walk.npz")
    walked = torch.from_numpy(reference["rw_r5_b10_e8"][:, 0])
    size = tuple(reference["sem_seg_size"].tolist())
    scores = scores_after_walk(walked, size, size)
    np.testing.assert_allclose(scores, reference["rw_up"], rtol=1e-5, atol=1e-6)
    best = argmax_with_background(scores, float(reference["sem_seg_bg_thres"]))
    values = np.array([0, *(reference["sem_seg_keys_minus1"] + 1)])
    np.testing.assert_array_equal(values[best], reference["sem_seg"])
    # the threshold refers to the maximum over all classes, at the size of the image
    peak = reference["rw_up"].max(axis=0).ravel()
    assert peak.max() == pytest.approx(1)
    middle = float(np.sort(peak)[[200, 201]].mean())
    assert (argmax_with_background(scores, middle) == 0).sum() == 201


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (37, 41), (40, 8)])
@pytest.mark.parametrize("which", [0, 1])
def test_degenerate_seeds_and_images_smaller_than_the_radius(which, size):
    refiner = refiners()[which]
    height, width = size
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    strided = np.zeros((2, -(-height // 4), -(-width // 4)), np.float16)
    classes = np.array([2, 3], np.uint8)
    zero = ScoreMaps("zero", classes, np.zeros((2, *size), np.float16), size, strided)
    assert refiner(image, zero).shape == size
    assert not refiner(image, zero).any()
    dot = zero._replace(scores=zero.scores.copy(), strided=strided.copy())
    dot.scores[1, 0, 0] = dot.strided[1, 0, 0] = 1
    mask = refiner(image, dot)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {0, 3}
    empty = np.zeros((0, 1, 1), np.float16)
    assert not refiner(image, ScoreMaps("none", np.zeros(0, np.uint8), empty, size, empty)).any()


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_the_network_input_may_have_another_size(scale):
    refiner = IRNRefiner(0.3, scale=scale)
    refiner.network = refiners()[0].network
    scores = np.zeros((1, 37, 42), np.float16)
    scores[0, 8:24, 12:30] = 1
    maps = ScoreMaps("a", np.array([2], np.uint8), scores, (37, 42), scores[:, ::4, ::4])
    image = np.random.default_rng(0).integers(0, 256, (37, 42, 3), dtype=np.uint8)
    mask = refiner(image, maps)
    assert mask.shape == (37, 42)
    assert mask[16, 20] == 2


def test_scores_on_boundaries_are_kept_only_if_asked_for():
    network = refiners()[0].network
    torch.nn.init.zeros_(network.boundary.classifier.weight)
    torch.nn.init.constant_(network.boundary.classifier.bias, 50.0)  # a boundary everywhere: no propagation
    scores = np.zeros((1, 32, 32), np.float16)
    scores[0, 8:24, 12:28] = 1
    maps = ScoreMaps("a", np.array([2], np.uint8), scores, (32, 32), scores[:, ::4, ::4])
    image = np.zeros((32, 32, 3), np.uint8)
    for keep_boundary_scores in (False, True):
        refiner = IRNRefiner(0.5, keep_boundary_scores=keep_boundary_scores)
        refiner.network = network
        mask = refiner(image, maps)
        assert mask.any() == keep_boundary_scores
        assert (mask[10:22, 14:26] == 2 * keep_boundary_scores).all()


def test_missing_inputs_and_bad_settings_are_named():
    irn, _ = refiners()
    maps = ScoreMaps("old", np.array([1], np.uint8), np.ones((1, 8, 8), np.float16), (8, 8))
    with pytest.raises(ValueError, match="'old' has no maps at stride 4"):
        irn(np.zeros((8, 8, 3), np.uint8), maps)
    with pytest.raises(ValueError, match="no network yet"):
        IRNRefiner(0.3)(np.zeros((8, 8, 3), np.uint8), maps)
    with pytest.raises(ValueError, match=r"threshold is 1\.5; expected"):
        IRNRefiner(1.5)


def test_the_file_of_a_refiner_with_a_network_is_no_single_stage():
    with pytest.raises(ValueError, match=r"irn\.yaml: this refiner trains .*three stages"):
        refine.main(["--config", str(paths.CONFIGS / "refine" / "irn.yaml")])


def run(stage, folder, name, config):
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({**config, "out": str(folder / name)}))
    assert stage.main(["--config", str(file)]) == 0


@pytest.mark.slow
@pytest.mark.skipif(not densecrf.available(), reason="pydensecrf is not installed (make crf)")
@pytest.mark.parametrize("name", ["irn", "psa"])
def test_the_three_stages_run_on_imported_seeds_and_a_second_run_skips_masks(name, tmp_path, mini_data):
    parts = FOLDER.refiner(name, "mini", FOLDER.trainer("cpu"))
    source = FOLDER.data("mini").source
    voc = VOC(mini_data / "mini" / "voc", vocabulary="mini")
    ids = voc.ids("few_train")
    (tmp_path / "cams").mkdir()
    for image_id in ids:  # perfect seeds, made of the true masks, as CLIP-ES writes them
        mask = voc.mask(image_id)
        classes = np.unique(mask[(mask > 0) & (mask < 255)])
        maps = (mask == classes[:, None, None]).astype(np.float16)
        np.save(tmp_path / "cams" / f"{image_id}.npy", {"keys": classes - 1, "attn_highres": maps})
    seeds = tmp_path / "theirs"
    options = ["--cams", str(tmp_path / "cams"), "--data", "mini", "--split", "few_train"]
    assert import_command.main(["seeds", *options, "--out", str(seeds)]) == 0
    common = {"source": source, "split": "few_train", "seeds": str(seeds), "workers": 0}
    labels, network, refiner = (
        {"class_path": part.class_path, "init_args": part.init_args}
        for part in (parts.affinity_labels, parts.network.model, parts.refiner)
    )
    run(refine, tmp_path, "labels", {**common, "refiner": labels})
    training = {"max_epochs": 1, "limit_train_batches": 2}
    config = {
        "model": network,
        "data": {**parts.network.data, "source": source, "train_split": "few_train", "global_batch_size": 4},
        "trainer": {**parts.network.trainer, **training},
        "masks": str(tmp_path / "labels"),
    }
    run(fit, tmp_path, "network", config)
    run(refine, tmp_path, "out", {**common, "refiner": refiner, "network": str(tmp_path / "network")})
    masks = {image_id: read_mask(mask_path(tmp_path / "out" / "masks", image_id)) for image_id in ids}
    hits = [(mask == voc.mask(image_id)).mean() for image_id, mask in masks.items()]
    assert np.mean(hits) > 0.6
    assert read_manifest(tmp_path / "out")["image_count"] == len(ids)
    workers = {"irn": 1, "psa": 0}[name]  # a worker loads its own network
    inputs = {**common, "refiner": refiner, "network": str(tmp_path / "network"), "workers": workers}
    run(refine, tmp_path, "again", inputs)
    for image_id, mask in masks.items():
        np.testing.assert_array_equal(read_mask(mask_path(tmp_path / "again" / "masks", image_id)), mask)
    changed = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "masks").iterdir()}
    mask_path(tmp_path / "out" / "masks", ids[1]).unlink()
    (tmp_path / "out" / "stage.json").unlink()
    run(refine, tmp_path, "out", {**common, "refiner": refiner, "network": str(tmp_path / "network")})
    kept = [path for path, time in changed.items() if path.stat().st_mtime_ns == time]
    assert len(kept) == len(ids) - 1
    np.testing.assert_array_equal(read_mask(mask_path(tmp_path / "out" / "masks", ids[1])), masks[ids[1]])
    other = {"irn": PSARefiner, "psa": IRNRefiner}[name]
    run(fit, tmp_path, "network2", {**config, "trainer": {**config["trainer"], "limit_train_batches": 1}})
    with pytest.raises(ValueError, match=r"which is no (PSA|Affinity|IRN)"):
        (other(0.3) if other is IRNRefiner else other()).load(tmp_path / "network2")
