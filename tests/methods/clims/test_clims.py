"""CLIMS against one training step of the authors' code (step/train_clims.py), and its special cases."""

import copy
from types import SimpleNamespace

import numpy as np
import paths
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from wsss_bench.methods.cam import CAM
from wsss_bench.methods.clims import text_matcher
from wsss_bench.methods.clims.improved import CLIMS
from wsss_bench.methods.clims.losses import LossWeights
from wsss_bench.methods.clims.prompts import Prompts
from wsss_bench.methods.clims.text_matcher import TextMatcher, object_and_background_regions
from wsss_bench.stages.fit import warm_start
from wsss_bench.types import ImageBatch
from wsss_bench.vocabulary import load

pytestmark = pytest.mark.slow

GOLDEN = np.load(paths.GOLDEN / "clims" / "training_objective.npz")
FACTS = np.load(paths.GOLDEN / "clims" / "network_facts.npz")
MINI = load("mini")
NETWORK = {"backbone": "resnet10t", "weights": None, "output_stride": 8}


def golden(name):
    return torch.tensor(GOLDEN[name])


def batch_of(image, labels):
    count = len(image)
    valid = torch.ones(count, *image.shape[2:], dtype=torch.bool)
    return ImageBatch([f"image{n}" for n in range(count)], image, labels, valid)


def labels_of(*pairs, count=2):
    labels = torch.zeros(count, len(MINI))
    for image, label in pairs:
        labels[image, label] = 1
    return labels


class FakeCLIP(nn.Module):
    """The fake encoders of the golden arrays."""

    image_size = int(GOLDEN["clip_input_size"])

    def __init__(self):
        super().__init__()
        self.model = SimpleNamespace(text_model=None, text_projection=None)

    text_length = 77

    def tokenizer(self, texts, **_):
        return {"input_ids": [[text] for text in texts]}

    def encode_text(self, prompts):
        name = "class" if len(prompts) == 20 else "background"
        return F.normalize(golden(f"{name}_text_features"), dim=-1)

    def encode_image(self, image):
        features = F.adaptive_avg_pool2d(image, 4).flatten(1) @ golden("fake_image_weight")
        return F.normalize(features.tanh() + golden("fake_common"), dim=-1)


class FakeClassMaps:
    """Replaces the class maps; their sigmoid is a given tensor."""

    def __init__(self, activation):
        self.activation = activation

    def sigmoid(self):
        return self.activation


@pytest.fixture(scope="module")
def shipped():
    return CLIMS(MINI, clip="package:mini/clip", prompts="mini", threshold=0.505, **NETWORK).train()


@pytest.fixture
def method(shipped):
    return copy.deepcopy(shipped)


def fake_matcher():
    """Twenty classes and ten background prompts, whose vectors are those of the golden arrays."""
    return TextMatcher(FakeCLIP(), [f"class {n}" for n in range(20)], ["background"] * 10)


@pytest.fixture(autouse=True)
def small_vocabulary(monkeypatch):
    """The classes of VOC are named to the mini CLIP, which does not know all of their words."""
    monkeypatch.setattr(text_matcher, "require_distinct_texts", lambda *arguments: None)


def published_step(weights):
    """Losses of the golden step, with activation and image as leaves of the autograd graph."""
    alpha, beta, gamma, delta = weights
    method = CLIMS(
        load("voc"), clip="package:mini/clip", loss_weights=LossWeights(alpha, beta, gamma, delta), **NETWORK
    )
    activation, image = golden("activation").requires_grad_(), golden("image").requires_grad_()
    method.matcher = fake_matcher()
    method.clip_normalize = nn.Identity()
    method._class_maps = lambda _: FakeClassMaps(activation)
    return method.training_loss(batch_of(image, golden("label"))), activation, image


def test_total_loss_and_gradients_equal_the_published_step():
    losses, activation, image = published_step(GOLDEN["hyper"].tolist())
    total = sum(losses.values())
    total.backward()
    np.testing.assert_allclose(total.item(), GOLDEN["loss"], rtol=1e-5)
    np.testing.assert_allclose(activation.grad, GOLDEN["grad_activation"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(image.grad, GOLDEN["grad_image"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "term"),
    [("otm", "L_OTM"), ("btm", "L_BTM"), ("cbs", "L_CBS"), ("reg", "L_REG")],
)
def test_every_term_equals_the_published_one(name, term):
    losses, activation, _ = published_step([1.0] * 4)
    losses[name].backward()
    np.testing.assert_allclose(losses[name].item(), GOLDEN[term], rtol=1e-5)
    np.testing.assert_allclose(activation.grad, GOLDEN[f"grad_x_{term}"], rtol=1e-5, atol=1e-6)


def test_pairs_regions_and_similarities_equal_the_published_ones():
    activation, image, labels = golden("activation"), golden("image"), golden("label")
    image_index, label = labels.nonzero(as_tuple=True)
    assert (image_index * 20 + label).tolist() == GOLDEN["foreground_index"].tolist()
    regions = object_and_background_regions(
        activation[image_index, label], image, image_index, FakeCLIP.image_size
    )
    for region, name in zip(regions.chunk(2), ("object_images", "background_images"), strict=True):
        np.testing.assert_allclose(region, GOLDEN[name], rtol=1e-5, atol=1e-6)
    similarities = fake_matcher()(activation, image, labels, int(labels.sum()))
    names = ("similarity_object", "similarity_background", "similarity_object_bgprompts")
    for cosine, name in zip(similarities[1:], names, strict=True):
        np.testing.assert_allclose(cosine, GOLDEN[name].squeeze(), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_network_is_the_published_one():
    method = CLIMS(load("voc"), weights=None, clip="package:mini/clip")
    groups = method.parameter_groups()
    assert [len(group["params"]) for group in groups] == [
        FACTS["n_backbone_tensors"],
        FACTS["n_head_tensors"],
    ]
    assert sum(p.numel() for p in method.parameters()) == FACTS["n_parameters"] == 23_548_992
    assert sum(not p.requires_grad for p in method.parameters()) == len(FACTS["frozen"]) == 3
    batch_norm = method.train().backbone.stages[0][1]
    before = batch_norm.running_mean.clone()
    method.backbone.stages[0](torch.rand(2, 3, 32, 32))
    assert not torch.equal(batch_norm.running_mean, before)  # no gradient, but still in training mode
    method.backbone.to("meta")
    for size, side in FACTS["input_output_sizes"].tolist():
        assert method.backbone(torch.rand(1, 3, size, size, device="meta"))[-1].shape[2:] == (side, side)


def test_clip_has_no_gradient_and_is_in_no_optimiser_and_no_checkpoint(method):
    sum(
        method.training_loss(batch_of(torch.rand(2, 3, 64, 64), labels_of((0, 1), (1, 2)))).values()
    ).backward()
    clip = method.matcher.clip
    assert all(p.grad is None and not p.requires_grad for p in clip.parameters())
    assert not clip.training
    trained = {id(p) for group in method.parameter_groups() for p in group["params"]}
    assert not trained & {id(p) for p in clip.parameters()}
    assert {name.split(".")[0] for name in method.state_dict()} == {"backbone", "head"}
    assert method.head.weight.grad[[1, 2]].abs().sum() > 0


def test_prompts_are_encoded_once_and_each_region_once(method, monkeypatch):
    clip, seen = method.matcher.clip, []
    encode = clip.encode_image
    monkeypatch.setattr(clip, "encode_image", lambda image: seen.append(image.shape) or encode(image))
    monkeypatch.setattr(clip, "encode_text", None)
    for _ in range(2):
        method.training_loss(batch_of(torch.rand(2, 3, 64, 64), labels_of((0, 1), (0, 3), (1, 2))))
    assert seen == [(6, 3, 96, 96)] * 2
    assert not hasattr(clip.model, "text_model")


def test_padding_and_masked_pixels_are_zero_in_the_clip_input(method):
    image = torch.rand(1, 3, 64, 64)
    # the transforms pad with the mean colour of ImageNet
    image[..., 40:] = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    regions = object_and_background_regions(
        torch.zeros(1, 8, 8), method.clip_normalize(image), torch.tensor([0]), 64
    )
    assert not regions[0].any()
    assert not regions[1, :, :, 41:].any()
    assert regions[1, :, :, :39].any()


def test_seed_maps_have_no_sigmoid(method):
    maps = method.eval().seed_maps(torch.rand(1, 3, 64, 64))
    assert (maps == 0).any()


def test_a_batch_without_labels_has_only_the_area_regularization(method):
    losses = method.training_loss(batch_of(torch.rand(2, 3, 64, 64), labels_of()))
    assert [losses[name].item() for name in ("otm", "btm", "cbs")] == [0, 0, 0]
    assert losses["reg"] > 0
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.requires_grad)
    assert method.head.weight.grad.any()


@pytest.mark.parametrize("size", [(64, 64), (8, 8), (1, 1)])
def test_one_pair_trains_at_any_image_size(method, size):
    method.eval()  # batch statistics need more than one value
    losses = method.training_loss(batch_of(torch.rand(1, 3, *size), labels_of((0, 5), count=1)))
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert torch.isfinite(method.head.weight.grad).all()
    assert method.head.weight.grad[5].any()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_object_of_one_pixel_and_an_empty_background_have_finite_losses(method, value):
    activation = torch.full((1, 8, 12, 12), value)
    activation[0, 4, 5, 5] = 1.0
    activation.requires_grad_()
    method._class_maps = lambda _: FakeClassMaps(activation)
    losses = method.training_loss(batch_of(torch.rand(1, 3, 96, 96), labels_of((0, 4), count=1)))
    sum(losses.values()).backward()
    assert torch.isfinite(activation.grad).all()
    assert activation.grad[0, 4, 5, 5] != 0


def save_cam(path, class_names):
    cam = CAM(class_names, **NETWORK)
    checkpoint = {"state_dict": cam.state_dict()}
    cam.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, path)
    return cam


def test_a_cam_checkpoint_loads_completely(method, tmp_path, capsys):
    cam = save_cam(tmp_path / "last.ckpt", MINI)
    warm_start(method, tmp_path / "last.ckpt")
    count = len(cam.state_dict())
    assert f"{count} of {count} tensors" in capsys.readouterr().out
    for name, value in cam.state_dict().items():
        torch.testing.assert_close(method.state_dict()[name], value, msg=name)


def test_a_checkpoint_of_other_classes_is_refused(method, tmp_path):
    save_cam(tmp_path / "last.ckpt", (*MINI[1:], MINI[0]))
    with pytest.raises(ValueError, match=r"the checkpoint has 8 classes \(bird, boat"):
        warm_start(method, tmp_path / "last.ckpt")


def test_prompts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="prompts 'voc' are for the 20 classes"):
        CLIMS(MINI, clip="package:mini/clip", prompts="voc", **NETWORK)
    with pytest.raises(ValueError, match="has 2 words"):
        CLIMS(MINI, clip="package:mini/clip", prompts=Prompts("a {}", ["cow", "bus"], ["sky"]), **NETWORK)
    with pytest.raises(ValueError, match="by class, which only the camera-ready version reads"):
        CLIMS(MINI, clip="package:mini/clip", prompts="camera_ready_mini", **NETWORK)


def test_a_background_prompt_that_names_a_class_gives_a_warning():
    prompts = Prompts("a photo of a {}", list(MINI), ["water", "Trains"])
    with pytest.warns(UserWarning, match="background prompt 'Trains' names the class 'train'"):
        CLIMS(MINI, clip="package:mini/clip", prompts=prompts, **NETWORK)


def test_a_missing_clip_is_reported_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model\.init_args\.clip: no CLIP .*nowhere"):
        CLIMS(MINI, clip=str(tmp_path / "nowhere"), prompts="mini", **NETWORK)
