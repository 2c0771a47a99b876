"""MCIS against the authors' arrays: forward pass, training steps, parameter groups, schedule, seeds."""

import json
from collections import OrderedDict

import cv2
import numpy as np
import paths
import pytest
import torch
from torch import nn

from wsss_bench.artifacts.files import read_json
from wsss_bench.artifacts.run import open_stage
from wsss_bench.methods.mcis import localization
from wsss_bench.methods.mcis.losses import common_and_unshared_labels, contrastive_coattention_loss
from wsss_bench.methods.mcis.mcis import MCIS, PUBLISHED
from wsss_bench.methods.mcis.vgg import at_stride_8
from wsss_bench.methods.optim import build_optimizer, build_schedule
from wsss_bench.plan.reader import read_configs
from wsss_bench.stages.predict import predict_split
from wsss_bench.stages.prediction import PredictCLI
from wsss_bench.types import ImageBatch, PairBatch, Reference

GOLDEN = paths.GOLDEN / "mcis"
MEAN, STD = (
    torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
)
PLAN = [4, 4, "M", 4, 4, "M", 6, 6, 6, "M", 8, 8, 8, "M", 8, 8, 8, "M"]
NAMES = {
    "features.encoder.features": "vgg.features",
    "features.adapter": "vgg.extra_convs",
    "head": "vgg.extra_last_conv",
    "coattention.affinity": "extra_linear_e",
    "coattention.classifier": "extra_gate",
    "coattention.mask": "extra_gate_merge",
}
"""Ours -> the authors'."""
TERMS = {
    "basic": "basic12", "common": "common12", "contrast_first": "contrast1", "contrast_second": "contrast2",
    "basic_flip": "basic_flip", "basic_0.75x": "basic_0.75", "basic_2x": "basic_2x",
    "common_flip": "co_flip", "common_0.75x": "co_0.75", "common_2x": "co_2x",
}  # fmt: skip


def golden(name):
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as file:
        return {
            key: torch.from_numpy(file[key]) if file[key].dtype.kind != "U" else file[key]
            for key in file.files
        }


def theirs(name):
    stem = next(stem for stem in NAMES if name.startswith(stem + "."))
    return NAMES[stem] + name.removeprefix(stem)


def tiny(arrays=None, prefix="", dtype=torch.float64, **arguments):
    """The recorded network: VGG with four to eight channels, 20 classes."""
    method = MCIS(
        [f"c{k}" for k in range(20)], backbone="package:mini2/resnet.json", weights=None, width=8, **arguments
    )
    layers, before = [], 3
    for width in PLAN:
        if width == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
            before = width
    method.features.encoder = nn.Sequential(OrderedDict(features=at_stride_8(nn.Sequential(*layers))))
    method.features.adapter[0] = nn.Conv2d(8, 8, 3, padding=1)
    method.features.normalize = nn.Identity()
    method.to(dtype)
    if arrays is not None:
        method.load_state_dict({name: arrays[f"{prefix}{theirs(name)}"] for name in method.state_dict()})
    return method


def test_forward_pass_of_the_whole_network():
    arrays = golden("full_tiny_forward")
    method = tiny(arrays, "param/")
    maps = {}
    with torch.no_grad():
        for pair, second in (("pair12", "x2"), ("pair1large", "x_large")):
            features = [method.features(arrays[name]) for name in ("x1", second)]
            attended = method.coattention(*features)
            cams = [method.head(f) for f in features]
            common = [method.coattention.common_class_maps(g) for g in attended]
            unshared = [
                method.coattention.unshared_class_maps(f, g) for f, g in zip(features, attended, strict=True)
            ]
            maps |= {
                f"{pair}/logits": torch.cat([m.mean((2, 3)) for m in cams]),
                f"{pair}/co_logits": torch.cat([m.mean((2, 3)) for m in (*common, *unshared)]),
            }
            for side in (1, 2):
                maps |= {
                    f"{pair}/feature{side}": features[side - 1],
                    f"{pair}/feature{side}_att_flat": attended[side - 1].flatten(2),
                    f"{pair}/mask_common{side}": method.coattention.common_object_mask(attended[side - 1]),
                    f"{pair}/cam{side}": cams[side - 1],
                    f"{pair}/co_map{side}": common[side - 1],
                    f"{pair}/contrast_map{side}": unshared[side - 1],
                }
    recorded = {name for name in arrays if name.startswith("pair") and not name.endswith("/affinity")}
    assert set(maps) == recorded  # the affinity is compared in test_coattention.py
    for name, value in maps.items():
        torch.testing.assert_close(value, arrays[name], rtol=0, atol=1e-9, msg=name)


def pair_batch(arrays, which):
    """The recorded batch: cells repeated to the sides 64, 64, 64 (mirrored), 48 and 128, normalised."""

    def image(side, repeat):
        cells = arrays["images_u8"][which, side].permute(0, 3, 1, 2).double() / 255
        return ((cells - MEAN) / STD).repeat_interleave(repeat, 2).repeat_interleave(repeat, 3)

    sides = [
        ImageBatch(
            [f"{side}-{k}" for k in range(3)],
            image(side, 8),
            arrays[f"label{side + 1}"][which],
            torch.ones(1),
        )
        for side in (0, 1)
    ]
    return PairBatch(*sides, {"flip": image(0, 8).flip(-1), "0.75x": image(0, 6), "2x": image(0, 16)})


def initial_state(arrays):
    """Network, optimiser and schedule of the recorded training."""
    method = tiny(arrays, "init/")
    optim = type(PUBLISHED)(**(vars(PUBLISHED) | {"milestones": (1 / 4, 3 / 4)}))
    optimizer = build_optimizer(method.parameter_groups(), optim)
    return method, optimizer, build_schedule(optimizer, optim, 8)


@pytest.mark.slow
def test_eight_training_steps(monkeypatch):
    """Losses, learning rates, gradients, weights of the authors' training loop: 4 epochs of 2 steps."""
    arrays = golden("train_loop")
    method, optimizer, schedule = initial_state(arrays)
    names = arrays["loss_term_names"].tolist()
    for step in range(8):
        epoch = step // 2
        monkeypatch.setattr(MCIS, "current_epoch", epoch)
        rates = sorted(group["lr"] for group in optimizer.param_groups)
        np.testing.assert_allclose(rates, sorted(arrays["lr_per_group"][step]), rtol=1e-12)
        losses = method.training_loss(pair_batch(arrays, step % 2))
        for name, value in losses.items():
            expected = arrays["loss_terms"][step, names.index(TERMS[name])]
            if name.startswith("contrast") and step not in (4, 6):  # they record it, but do not add it
                expected = torch.zeros_like(expected)
            torch.testing.assert_close(
                value.detach(), expected, rtol=0, atol=1e-12, msg=f"{name} of step {step}"
            )
        total = sum(losses.values())
        torch.testing.assert_close(total.detach(), arrays["loss_total"][step], rtol=0, atol=1e-12)
        optimizer.zero_grad()
        total.backward()
        for name, parameter in method.named_parameters():
            gradient = arrays.get(f"step{step}/grad/{theirs(name)}")
            if gradient is not None:
                torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-12, msg=name)
        optimizer.step()
        schedule.step()
        for name, parameter in method.named_parameters():
            weights = arrays.get(f"step{step}/param/{theirs(name)}")
            assert (weights is None) == (step not in (0, 4, 7))
            if weights is not None:
                torch.testing.assert_close(parameter.detach(), weights, rtol=0, atol=1e-12, msg=name)


def test_logits_and_labels_of_the_terms(monkeypatch):
    """Logits and labels of each loss, in the first step with contrastive co-attention losses."""
    arrays = golden("train_loop")
    method, optimizer, schedule = initial_state(arrays)
    for step in range(4):
        monkeypatch.setattr(MCIS, "current_epoch", step // 2)
        optimizer.zero_grad()
        sum(method.training_loss(pair_batch(arrays, step % 2)).values()).backward()
        optimizer.step()
        schedule.step()
    given = []

    def record(logits, targets):
        pair = (torch.cat(x) if isinstance(x, list) else x for x in (logits, targets))
        given.append(tuple(pair))
        return torch.zeros(())

    monkeypatch.setattr("wsss_bench.methods.mcis.mcis.classification_loss", record)
    monkeypatch.setattr("wsss_bench.methods.mcis.mcis.contrastive_coattention_loss", record)
    method.training_loss(pair_batch(arrays, 0))
    views = [f"{kind}_{view}" for view in ("flip", "0.75", "2x") for kind in ("basic", "co")]
    for name, (logits, targets) in zip(
        ["basic12", "common12", *views, "contrast1", "contrast2"], given, strict=True
    ):
        torch.testing.assert_close(targets.double(), arrays[f"step4/target/{name}"], rtol=0, atol=0)
        torch.testing.assert_close(logits.detach(), arrays[f"step4/pred/{name}"], rtol=0, atol=1e-12)


def test_in_warm_up_the_mask_has_a_zero_gradient_and_the_common_loss_reaches_the_partner():
    arrays = golden("train_loop")
    method = tiny(arrays, "init/", contrastive_from_epoch=2)
    batch = pair_batch(arrays, 0)
    batch.second.image.requires_grad_()
    losses = method.training_loss(batch)
    losses["common"].backward(retain_graph=True)
    assert batch.second.image.grad.any()
    sum(losses.values()).backward()
    assert method.coattention.mask.weight.grad is not None
    assert not method.coattention.mask.weight.grad.any()


def test_images_without_unshared_classes_count_unless_the_whole_batch_has_none():
    first = torch.zeros(2, 20)
    first[0, [14, 6]] = 1
    first[1, 3] = 1
    second = torch.zeros(2, 20)
    second[0, 14] = second[1, 3] = 1
    common, unshared, partner_unshared = common_and_unshared_labels(first, second)
    assert common.nonzero().tolist() == [[0, 14], [1, 3]]
    assert unshared.nonzero().tolist() == [[0, 6]]
    assert not partner_unshared.any()
    logits = torch.zeros(2, 20)
    logits[1] = 5.0  # the image without unshared classes still shows all classes
    assert contrastive_coattention_loss(logits, unshared) > 2
    assert contrastive_coattention_loss(logits, partner_unshared) == 0


def test_parameter_groups_are_the_published_ones():
    groups = json.loads((GOLDEN / "param_groups.json").read_text())
    method = tiny()
    names = {id(parameter): theirs(name) for name, parameter in method.named_parameters()}
    found = {
        group["lr_scale"]: {names[id(p)] for p in group["params"]} for group in method.parameter_groups()
    }
    assert found == {scale: set(groups[f"group{k}"]) for k, scale in enumerate((1.0, 2.0, 10.0, 20.0))}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "options"),
    [
        ("vgg11", {}),
        ("resnet18", {"output_stride": 8}),
        ("resnet18", {"output_stride": 4, "dilated": False, "frozen_stages": 5}),
        ("package:mini2/vit.json", {}),
    ],
)
def test_every_encoder_trains_and_makes_seeds(backbone, options):
    torch.manual_seed(0)
    method = MCIS(
        ["a", "b", "c"],
        backbone=backbone,
        weights=None,
        width=12,
        contrastive_from_epoch=0,
        side=32,
        **options,
    )
    first, second = (
        ImageBatch([name], torch.rand(1, 3, 32, 32), torch.tensor([labels]), torch.ones(1))
        for name, labels in (("m", [1.0, 1.0, 0.0]), ("n", [1.0, 0.0, 1.0]))
    )
    image = first.image
    views = {
        "flip": image.flip(-1),
        "0.75x": localization.resize_to_square(image, 24),
        "2x": localization.resize_to_square(image, 64),
    }
    sum(method.training_loss(PairBatch(first, second, views)).values()).backward()
    without = [n for n, p in method.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert method.features.adapter[0].weight.grad.any()
    encoder_learns = any(p.grad is not None and p.grad.any() for p in method.features.encoder.parameters())
    assert encoder_learns == ("frozen_stages" not in options)
    maps = method.seed_maps(image, first.labels)
    assert maps.shape[:2] == (1, 3)
    assert 0 <= maps.min() <= maps.max() <= 1


def test_published_schedule():
    arrays = golden("lr_schedule")
    optim = type(PUBLISHED)(**(vars(PUBLISHED) | {"milestones": (5 / 15, 10 / 15)}))
    parameters = [nn.Parameter(torch.zeros(1)) for _ in range(4)]
    groups = [{"params": [p], "lr_scale": s} for p, s in zip(parameters, (1.0, 2.0, 10.0, 20.0), strict=True)]
    optimizer = build_optimizer(groups, optim)
    schedule = build_schedule(optimizer, optim, 15 * 7)
    for epoch in range(15):
        rates = [group["lr"] for group in optimizer.param_groups]
        np.testing.assert_allclose(rates, arrays["lr_per_group"][epoch], rtol=1e-9)
        for _ in range(7):
            optimizer.step()
            schedule.step()


@pytest.fixture(scope="module")
def recorded_seeds():
    """Seeds of the recorded images, with the references that were drawn: 1 to 3 and 4 to 6."""
    arrays = golden("localization_inference")
    method = tiny(arrays, "param/", torch.float32, self_scales=(0.75, 2.0)).eval()

    def blocks(index, repeat):
        cells = arrays["images_u8"][index].permute(2, 0, 1).float() / 255
        image = (cells - MEAN.float()) / STD.float()
        return image.repeat_interleave(repeat, 1).repeat_interleave(repeat, 2)

    return arrays, method, blocks


def test_seeds_over_self_views_and_references(recorded_seeds, monkeypatch):
    arrays, method, blocks = recorded_seeds
    classes = arrays["classes"].tolist()
    sides = {256: 32, 192: 24, 512: 64}
    fused = []
    fuse = localization.fuse_maps
    monkeypatch.setattr(
        "wsss_bench.methods.mcis.mcis.resize_to_square", lambda image, side: blocks(0, sides[side])[None]
    )
    monkeypatch.setattr(
        "wsss_bench.methods.mcis.reference_features.resize_to_square",
        lambda image, side: blocks(int(image[0, 0, 0, 0] * 255 + 0.5), 32)[None],
    )
    monkeypatch.setattr(
        "wsss_bench.methods.mcis.mcis.fuse_maps", lambda maps: fused.append(maps) or fuse(maps)
    )
    references = [
        Reference(f"{k}", np.full((2, 2, 3), k, np.uint8), np.zeros(20, np.float32), classes[(k - 1) // 3])
        for k in range(1, 7)
    ]
    with torch.no_grad():
        seeds = method.seed_maps(torch.zeros(1, 3, 256, 256), None, references)
    names = (
        "self_orig_from_flip", "self_flip_from_orig_unflipped", "self_s075_from_orig_to32",
        "self_s2_from_orig_to32", "related_mean_class_merged",
    )  # fmt: skip
    for name, maps in zip(names, fused[0], strict=True):
        # references are drawn for the two classes of the image
        read = classes if name.startswith("related") else list(range(20))
        torch.testing.assert_close(
            maps[:, read], arrays[f"maps/{name}"][:, read], rtol=0, atol=1e-4, msg=name
        )
    for c in classes:
        grey = (seeds[0, c] * 255).numpy()
        difference = np.abs(grey.astype(np.uint8).astype(int) - arrays[f"aggregate_class{c}"].numpy())
        assert difference.max() <= 1
        enlarged = cv2.resize(grey.astype(np.uint8), (60, 45), interpolation=cv2.INTER_CUBIC)
        difference = np.abs(enlarged.astype(int) - arrays[f"png_class{c}"].numpy())
        assert np.percentile(difference, 99) <= 2


def test_a_reference_changes_only_the_class_it_was_drawn_for(recorded_seeds):
    _, method, _ = recorded_seeds
    method.side = 64
    method.coattention.classifier.weight.data.abs_()  # every class has a positive map
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    pixels = np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    reference = Reference("other", pixels, np.ones(20, np.float32), 7)
    with torch.no_grad():
        without, with_one = (method.seed_maps(image, None, refs) for refs in ((), (reference,)))
        twice = method.seed_maps(image, None, (reference, reference))

    def normalized(maps):
        return maps / (maps.amax((2, 3), keepdim=True) + 1e-9)

    changed = (normalized(without) - normalized(with_one)).abs().amax((0, 2, 3)) > 1e-5
    assert changed.nonzero().flatten().tolist() == [7]
    torch.testing.assert_close(with_one, twice)
    method.coattention.classifier.weight.data.zero_()
    assert not method.seed_maps(image, None, (reference,)).any()
    method.side = 256


@pytest.mark.slow
def test_the_seed_stage_records_its_references(tmp_path, mini_data):
    configs = read_configs(paths.CONFIGS)
    content = configs.method("mcis", "mini", configs.trainer("cpu"))
    config = {
        "seed_everything": 5,
        "model": {"class_path": content.model.class_path, "init_args": content.model.init_args},
        "data": {**content.data, "source": configs.data("mini").source},
        "trainer": content.trainer,
        "inference": {**content.inference, "references": 2},
        "product": "seed",
        "split": "few",
    }
    written = []
    for out in ("first", "second"):
        cli = PredictCLI({**config, "out": str(tmp_path / out)})
        with open_stage(cli.out, "seed", {}, cli.info) as run:
            predict_split(cli, run)
        written.append(read_json(tmp_path / out / "references.json"))
    assert written[0] == written[1]
    assert set(written[0]) == set(cli.datamodule.source.ids("few"))
    source, names = cli.datamodule.source, cli.datamodule.class_names
    for image_id, drawn in written[0].items():
        assert [names.index(name) for name in drawn] == np.flatnonzero(source.labels(image_id)).tolist()
        for name, ids in drawn.items():
            assert len(ids) == 2
            assert all(source.labels(other)[names.index(name)] for other in ids)
