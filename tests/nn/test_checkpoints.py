"""Checkpoints of timm and torchvision load; whatever differs in more than the classifier is refused."""

import argparse
import json
import re

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from wsss_bench.methods.mcis.vgg import VGGStride8
from wsss_bench.methods.single_stage.vit import VisionTransformer
from wsss_bench.nn.checkpoints import load_weights
from wsss_bench.nn.resnet import ResNetStages
from wsss_bench.nn.timm_models import create_timm

pytestmark = pytest.mark.slow

NAME = "resnet10t"


@pytest.fixture(scope="module")
def full():
    """Weights of a whole classifier, other than those of a new network."""
    torch.manual_seed(1)
    return timm.create_model(NAME, num_classes=7).state_dict()


def loaded(path):
    return create_timm(NAME, str(path)).state_dict()


def assert_loaded(path, full):
    for key, value in loaded(path).items():
        assert torch.equal(value, full[key]), key


def prefixed(prefix, state):
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize(
    ("wrap", "told"),
    [
        (lambda s: s, ["without the classifier (fc.bias, fc.weight)"]),
        (lambda s: {k: v for k, v in s.items() if not k.startswith("fc.")}, []),
        (lambda s: {"state_dict": s, "epoch": 3}, ["from 'state_dict'"]),
        (lambda s: {"model": s, "optimizer": {"state": {}}}, ["from 'model'"]),
        (lambda s: {"model": {k: v + 1 for k, v in s.items()}, "model_ema": s}, ["from 'model_ema'"]),
        (lambda s: {"state_dict": s, "args": argparse.Namespace(lr=0.1)}, ["from 'state_dict'"]),
        (lambda s: prefixed("module.", s), ["prefix 'module.' removed"]),
        (lambda s: {"state_dict": prefixed("model.", s)}, ["from 'state_dict'", "prefix 'model.' removed"]),
        (lambda s: prefixed("_orig_mod.", s), ["prefix '_orig_mod.' removed"]),
        (
            lambda s: prefixed("module.", {**prefixed("backbone.", s), "decoder.weight": torch.ones(1)}),
            ["prefix 'module.backbone.' removed, 1 tensors beside it left out (module.decoder.weight)"],
        ),
        (lambda s: {k: v for k, v in s.items() if not k.endswith("num_batches_tracked")}, []),
    ],
)
def test_containers_prefixes_and_classifiers_are_undone_and_told(wrap, told, full, tmp_path, capsys):
    path = tmp_path / "weights.pth"
    torch.save(wrap(full), path)
    own = loaded(path)
    for key, value in own.items():
        assert torch.equal(value, full[key]) or key.endswith("num_batches_tracked"), key
    (line,) = capsys.readouterr().out.splitlines()
    assert re.match(rf"weights: \d+ tensors of {re.escape(str(path))}", line)
    for part in told:
        assert part in line


def test_safetensors_load_too(full, tmp_path):
    save_file(full, tmp_path / "model.safetensors")
    assert_loaded(tmp_path / "model.safetensors", full)
    stages = ResNetStages(NAME, str(tmp_path / "model.safetensors"))
    assert torch.equal(stages.stages[4][0].conv1.weight, full["layer4.0.conv1.weight"])


def test_a_resnet_of_torchvision_loads(tmp_path):
    network = torchvision.models.resnet18(num_classes=5)
    torch.save(network.state_dict(), tmp_path / "resnet18.pth")
    stages = ResNetStages("resnet18", str(tmp_path / "resnet18.pth"), output_stride=32).eval()
    image = torch.rand(1, 3, 75, 90)
    layers = torch.nn.Sequential(*list(network.eval().children())[:-2])
    with torch.no_grad():
        torch.testing.assert_close(stages(image)[-1], layers(image))


@pytest.mark.slow  # timm builds the 100 M parameters behind the features first
def test_a_vgg_of_torchvision_loads(tmp_path):
    with torch.device("meta"):  # names and shapes of the features, without their 500 MB
        shapes = {k: v.shape for k, v in torchvision.models.vgg11().features.state_dict().items()}
    state = {f"features.{key}": torch.rand(shape) for key, shape in shapes.items()}
    torch.save({**state, "classifier.0.weight": torch.ones(2, 2)}, tmp_path / "vgg11.pth")
    network = VGGStride8("vgg11", str(tmp_path / "vgg11.pth"))
    assert torch.equal(network.features[0].weight, state["features.0.weight"])
    assert len(network.features.state_dict()) == len(shapes)


def test_a_vit_of_torchvision_loads(tmp_path, capsys):
    torch.manual_seed(0)
    network = torchvision.models.VisionTransformer(48, 16, 2, 3, 48, 192, num_classes=5).eval()
    torch.nn.init.normal_(network.encoder.pos_embedding)
    torch.save({"model": prefixed("module.", network.state_dict())}, tmp_path / "vit.pth")
    size = {"img_size": 48, "embed_dim": 48, "depth": 2, "num_heads": 3}
    (tmp_path / "vit.json").write_text(json.dumps({"model": "vit_tiny_patch16_224", "kwargs": size}))
    encoder = VisionTransformer(str(tmp_path / "vit.json"), str(tmp_path / "vit.pth"), -1).eval()
    assert "without the classifier (heads.head.bias, heads.head.weight)" in capsys.readouterr().out
    image = torch.rand(2, 3, 48, 48)
    with torch.no_grad():
        patches = network._process_input(image)
        tokens = network.encoder(torch.cat([network.class_token.expand(2, -1, -1), patches], dim=1))
        found = encoder(image)
    torch.testing.assert_close(found.class_token, tokens[:, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.patches.flatten(2).transpose(1, 2), tokens[:, 1:], rtol=1e-4, atol=1e-5)


def without(state, count):
    names = [key for key in state if key.endswith("weight") and key != "bn1.weight"][:count]
    return {key: value for key, value in state.items() if key not in names}, names


def test_missing_unexpected_and_reshaped_names_are_listed_up_to_five(full, tmp_path):
    state, names = without(full, 7)
    state |= {"surplus.weight": torch.ones(1), "bn1.weight": torch.ones(3)}
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(ValueError) as error:
        loaded(tmp_path / "other.pth")
    message = str(error.value)
    assert f"7 missing: {', '.join(names[:5])}, and 2 more" in message
    assert "1 unexpected: surplus.weight" in message
    assert "1 of another shape: bn1.weight (3,) for (64,)" in message


def test_a_checkpoint_of_another_network_is_refused(full, tmp_path):
    torch.save(full, tmp_path / "resnet10t.pth")
    with pytest.raises(ValueError, match=r"not a checkpoint of this architecture .* missing: "):
        create_timm("resnet18", str(tmp_path / "resnet10t.pth"))
    # a classifier of DataParallel beside a bare network is not silently dropped either
    torch.save({**prefixed("module.", full), "other.weight": torch.ones(1)}, tmp_path / "mixed.pth")
    with pytest.raises(ValueError, match=r"1 unexpected: other\.weight"):
        loaded(tmp_path / "mixed.pth")


class Code:
    """Something whose loading would run code."""

    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a checkpoint that can be read"),
        (b"not a checkpoint", "not a checkpoint that can be read"),
        ({"state_dict": Code()}, "not a checkpoint that can be read without running code"),
        ({"epoch": 3}, r"holds no tensors by name \(found: epoch\)"),
        ([torch.ones(1)], r"holds no tensors by name \(found: list\)"),
        ({"wsss_bench": {}, "state_dict": {}}, "checkpoint of wsss_bench;.*warm_start"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_that_are_no_checkpoints_are_named(content, message, suffix, tmp_path, capsys):
    path = tmp_path / f"file{suffix}"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
        message = "not a checkpoint that can be read" if suffix == ".safetensors" else message
    with pytest.raises(ValueError, match=message) as error:
        loaded(path)
    assert str(path) in str(error.value)
    assert "code ran" not in capsys.readouterr().out


def test_a_truncated_checkpoint_is_named(full, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(full, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="may be damaged"):
        loaded(path)


def test_a_wrong_path_is_named(tmp_path):
    for path in (tmp_path / "nowhere.pth", tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no file"):
            loaded(path)


def test_an_unknown_model_is_named_with_similar_ones():
    with pytest.raises(ValueError, match=r"has no model 'resnet5O'; did you mean .*resnet50"):
        create_timm("resnet5O.tv_in1k", None)


def test_layers_that_are_not_used_are_left_out(tmp_path, capsys):
    network = torch.nn.Conv2d(2, 2, 1)
    torch.save({**network.state_dict(), "behind.weight": torch.ones(1)}, tmp_path / "w.pth")
    load_weights(torch.nn.Conv2d(2, 2, 1), tmp_path / "w.pth", unused=["behind.weight"])
    assert "without layers that are not used (behind.weight)" in capsys.readouterr().out
