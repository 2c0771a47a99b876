"""Any timm network with features at four strides: sizes, gradients, own statistics, and who is refused."""

import json

import paths_of_real_data
import pytest
import timm
import torch
from packaging.version import Version

from wsss_bench.methods.cam import CAM
from wsss_bench.methods.supervised import Supervised
from wsss_bench.nn.backbone import TimmStages, build_backbone
from wsss_bench.nn.resnet import ResNetStages
from wsss_bench.nn.timm_models import own_normalize
from wsss_bench.refine.walk.irnet import IRNet
from wsss_bench.segmenters.deeplabv2 import DeepLabV2
from wsss_bench.segmenters.largefov import DeepLabLargeFOV
from wsss_bench.types import ImageBatch, MaskBatch

SWIN = {"depths": [1, 1, 1, 1], "embed_dim": 24, "num_heads": [1, 2, 4, 8]}
TINY = ["test_convnext", "test_efficientnet", "test_byobnet"]
SINCE_1_0_31 = pytest.mark.skipif(
    Version(timm.__version__) < Version("1.0.31"), reason="older versions of timm refuse more"
)
LARGER = [
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("regnetx_002", "resnest14d")),
    pytest.param("hrnet_w18_small", marks=[pytest.mark.slow, SINCE_1_0_31]),
]
ALL = [*TINY, "swin", *LARGER]


@pytest.fixture
def backbone(request, tmp_path):
    """Name of a network, or the recipe of a small Swin."""
    if request.param != "swin":
        return request.param
    file = tmp_path / "swin.json"
    file.write_text(json.dumps({"model": "swin_tiny_patch4_window7_224", "kwargs": SWIN}))
    return str(file)


@pytest.mark.parametrize("backbone", ALL, indirect=True)
def test_features_have_the_stated_strides_and_channels_at_any_size(backbone):
    stages = build_backbone(backbone, None, 32).eval()
    assert isinstance(stages, TimmStages)
    assert stages.stage_strides == [4, 8, 16, 32]
    for height, width in ((75, 101), (64, 96), (33, 250)):
        with torch.no_grad():
            maps = stages(torch.rand(2, 3, height, width))
        expected = [
            (2, c, -(-height // s), -(-width // s))
            for c, s in zip(stages.stage_channels, stages.stage_strides, strict=True)
        ]
        assert [tuple(features.shape) for features in maps] == expected
    assert stages.channels == stages.stage_channels[-1]


@pytest.mark.parametrize("backbone", ALL, indirect=True)
@pytest.mark.parametrize("frozen_stages", [0, 3])
def test_cam_trains_every_parameter_that_is_not_frozen(backbone, frozen_stages):
    torch.manual_seed(0)
    method = CAM(["a", "b"], backbone=backbone, weights=None, output_stride=32, frozen_stages=frozen_stages)
    method.train()
    batch = ImageBatch(
        ["1", "2"], torch.rand(2, 3, 70, 90), torch.eye(2), torch.ones(2, 70, 90, dtype=torch.bool)
    )
    sum(method.training_loss(batch).values()).backward()
    named = list(method.named_parameters())
    assert [n for n, p in named if p.requires_grad and p.grad is None] == []
    trained = sum(p.requires_grad for _, p in named)
    assert trained < len(named) if frozen_stages else trained > 2
    assert method.seed_maps(torch.rand(1, 3, 75, 101)).shape == (1, 2, 3, 4)


@pytest.mark.parametrize("name", [*TINY, "resnet10t"])
def test_frozen_stages_are_those_up_to_a_stride(name):
    """3 freezes all that the maps at strides 4 and 8 depend on, and no more."""
    stages = build_backbone(name, None, 32, frozen_stages=3)
    image = torch.rand(2, 3, 64, 64, requires_grad=True)
    features = stages(image)
    trained = [p for p in stages.parameters() if p.requires_grad]
    for level, expected in ((-4, False), (-3, False), (-2, True), (-1, True)):
        gradients = torch.autograd.grad(
            features[level].sum(), [image, *trained], retain_graph=True, allow_unused=True
        )[1:]
        assert any(g is not None for g in gradients) == expected, level


@pytest.mark.parametrize("backbone", ALL, indirect=True)
def test_irnet_runs_on_any_of_them(backbone):
    network = IRNet(["a", "b"], backbone=backbone, weights=None, output_stride=32, width=4, radius=4)
    mask = torch.randint(0, 3, (2, 64, 64))
    losses = network.training_loss(MaskBatch(["1", "2"], torch.rand(2, 3, 64, 64), mask, mask >= 0))
    sum(losses.values()).backward()
    assert all(
        p.grad is not None for p in [*network.boundary.parameters(), *network.displacement.parameters()]
    )
    assert not any(p.requires_grad for p in network.backbone.parameters())
    assert network.eval().boundary_logits(torch.rand(1, 3, 75, 101)).shape == (1, 19, 26)


def test_a_resnet_is_still_that_of_the_cam_family():
    stages = build_backbone("resnet10t", None, 16, frozen_stages=1, freeze_bn=True)
    assert isinstance(stages, ResNetStages)
    assert stages.stage_strides == [4, 4, 8, 16, 16]


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("name", TINY)
def test_an_output_stride_dilates_where_the_network_can(name, output_stride):
    stages = build_backbone(name, None, output_stride).eval()
    assert stages.stage_strides == [min(stride, output_stride) for stride in (4, 8, 16, 32)]
    assert stages(torch.rand(1, 3, 50, 70))[-1].shape[-2:] == (
        -(-50 // output_stride),
        -(-70 // output_stride),
    )


@pytest.mark.parametrize(
    ("name", "output_stride", "message"),
    [
        pytest.param(
            "swin_tiny_patch4_window7_224",
            16,
            "cannot be built with output_stride 16.*set output_stride: 32",
            marks=SINCE_1_0_31,
        ),
        ("test_convnext", 4, "cannot be built with output_stride 4"),
        ("test_vit", 32, "convnext_tiny"),
        ("no_such_net", 32, "has no model 'no_such_net'"),
        ("maxvit_pico_rw_256", 32, "choose e.g. resnet50.tv_in1k"),
    ],
)
def test_networks_that_do_not_fit_are_refused(name, output_stride, message):
    with pytest.raises(ValueError, match=message):
        build_backbone(name, None, output_stride)


def test_frozen_stages_out_of_range_are_refused():
    for name in ("test_convnext", "resnet10t"):
        with pytest.raises(ValueError, match="frozen_stages"):
            build_backbone(name, None, 32, frozen_stages=6)


def test_images_are_normalised_as_in_pretraining():
    lite = build_backbone("tf_efficientnet_lite0", None, 32)
    assert lite.normalize.mean.flatten().tolist() == [0.5] * 3
    assert own_normalize("resnet50.tv_in1k").std.flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])
    assert own_normalize("package:mini2/resnet.json").mean.flatten()[0] == pytest.approx(0.485)
    method = CAM(["a"], backbone="tf_efficientnet_lite0", weights=None, output_stride=32)
    seen = []
    method.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    method.class_logits(torch.full((1, 3, 32, 32), 0.75))
    assert seen[0].unique().tolist() == [0.5]


@pytest.mark.parametrize("kind", [Supervised, DeepLabV2, DeepLabLargeFOV])
def test_networks_that_learn_from_masks_take_any_backbone_with_its_statistics(kind):
    method = kind(["a", "b"], backbone="tf_efficientnet_lite0", weights=None, output_stride=16)
    seen = []
    method.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = torch.full((1, 3, 75, 100), 0.75)
    assert method.segmentation_logits(image).shape[:2] == (1, 3)
    assert seen[0].unique().tolist() == [0.5]
    mask = torch.randint(0, 3, (1, 75, 100))
    losses = method.training_loss(MaskBatch(["x"], image, mask, torch.ones(1, 75, 100, dtype=torch.bool)))
    sum(losses.values()).backward()
    groups = [parameter for group in method.parameter_groups() for parameter in group["params"]]
    assert [p.shape for p in groups if p.requires_grad and p.grad is None] == []


def test_batch_norm_stays_fixed_where_it_is_asked_for():
    stages = build_backbone("test_efficientnet", None, 32, freeze_bn=True)
    before = {k: v.clone() for k, v in stages.named_buffers() if "running" in k}
    stages.train()(torch.rand(2, 3, 64, 64))
    assert before
    assert all(torch.equal(v, before[k]) for k, v in stages.named_buffers() if k in before)


def test_a_whole_checkpoint_of_timm_loads_into_the_stages(tmp_path, capsys):
    torch.manual_seed(3)
    whole = timm.create_model("test_efficientnet", num_classes=9)
    torch.save({"state_dict": {f"module.{k}": v for k, v in whole.state_dict().items()}}, tmp_path / "w.pth")
    stages = build_backbone("test_efficientnet", str(tmp_path / "w.pth"), 32).eval()
    told = capsys.readouterr().out
    assert "without the classifier (classifier.bias, classifier.weight)" in told
    assert "layers that are not used (bn2.bias" in told
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = whole.eval().forward_intermediates(image, intermediates_only=True)[-1]
        torch.testing.assert_close(stages(image)[-1], expected)


@pytest.mark.parametrize(
    "file", ["efficientnet_lite0.safetensors", "efficientnet_lite0_features.safetensors"]
)
@paths_of_real_data.needs("weights")
def test_real_weights_load_where_they_are(file, monkeypatch):
    monkeypatch.setenv("WEIGHTS_HERE", str(paths_of_real_data.ROOT))
    stages = build_backbone("tf_efficientnet_lite0", f"${{WEIGHTS_HERE}}/weights/{file}", 16)
    filters = stages.net.conv_stem.weight
    assert filters.std() > 0.1  # trained filters, not the initial ones
