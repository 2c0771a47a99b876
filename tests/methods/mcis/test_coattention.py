"""Co-attention against the authors' arrays: values, gradients, memory and edge cases."""

import subprocess
import sys

import numpy as np
import paths
import pytest
import torch

from wsss_bench.methods.mcis import coattention
from wsss_bench.methods.mcis.coattention import CoAttention

GOLDEN = paths.GOLDEN / "mcis"


def golden(name):
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def block(arrays):
    module = CoAttention(8, 20).double()
    names = {"affinity.weight": "W_linear_e", "classifier.weight": "W_gate", "mask.weight": "W_gate_merge"}
    module.load_state_dict({own: arrays[name] for own, name in names.items()})
    return module


@pytest.fixture(params=["coattention_same_size", "coattention_unequal_size"])
def arrays(request):
    return golden(request.param)


@pytest.mark.parametrize("limit", [2**26, 0])
def test_attended_maps_masks_and_class_maps(arrays, limit, monkeypatch):
    """With `limit` 0 the affinity is never stored."""
    monkeypatch.setattr(coattention, "LARGEST_AFFINITY", limit)
    module, first, second = block(arrays), arrays["feature1"], arrays["feature2"]
    attended_1, attended_2 = module(first, second)
    torch.testing.assert_close(module.of_first(first, second), attended_1, rtol=0, atol=1e-12)
    torch.testing.assert_close(module.of_second(first, second), attended_2, rtol=0, atol=1e-12)
    for number, features, attended in ((1, first, attended_1), (2, second, attended_2)):
        expected = {
            f"feature{number}_att_flat": attended.flatten(2),
            f"mask_common{number}": module.common_object_mask(attended),
            f"co_map{number}": module.common_class_maps(attended),
            f"contrast_map{number}": module.unshared_class_maps(features, attended),
        }
        for name, value in expected.items():
            torch.testing.assert_close(value, arrays[name], rtol=0, atol=1e-9)


@pytest.mark.parametrize("limit", [2**26, 0])
def test_class_maps_and_means_without_the_attended_features(arrays, limit, monkeypatch):
    monkeypatch.setattr(coattention, "LARGEST_AFFINITY", limit)
    module, first, second = block(arrays), arrays["feature1"], arrays["feature2"]
    maps = (module.class_maps_of_first(first, second), module.class_maps_of_second(first, second))
    for number, found, mean in zip((1, 2), maps, module.means(first, second), strict=True):
        expected = arrays[f"co_map{number}"]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
        logits = module.common_class_maps(mean)
        torch.testing.assert_close(logits, expected.mean(dim=(2, 3), keepdim=True), rtol=0, atol=1e-9)


@pytest.mark.parametrize("limit", [2**26, 0])
def test_the_means_have_the_gradients_of_the_attended_features(limit, monkeypatch):
    torch.manual_seed(0)
    module = CoAttention(6, 3).double()
    first, second = (
        torch.rand(2, 6, *size, dtype=torch.float64, requires_grad=True) for size in ((3, 4), (5, 2))
    )
    means = [features.mean(dim=(2, 3), keepdim=True) for features in module(first, second)]
    monkeypatch.setattr(coattention, "LARGEST_AFFINITY", limit)
    learned = [first, second, module.affinity.weight, module.classifier.weight]
    gradients = [
        torch.autograd.grad(sum(module.common_class_maps(mean).square().sum() for mean in found), learned)
        for found in (means, module.means(first, second))
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
        assert one.any()


def test_affinity_and_the_two_softmaxes(arrays):
    """The recorded attention of every position gives the attended features."""
    module, first, second = block(arrays), arrays["feature1"], arrays["feature2"]
    query = module.affinity(first.flatten(2).transpose(1, 2))
    affinity = query @ second.flatten(2)
    torch.testing.assert_close(affinity, arrays["affinity"], rtol=0, atol=1e-9)
    attended_1, attended_2 = module(first, second)
    for attention, source, attended in (
        (arrays["att_over_img1"], first, attended_2),
        (arrays["att_over_img2"], second, attended_1),
    ):
        torch.testing.assert_close(attention.sum(dim=1), torch.ones_like(attention[:, 0]))
        torch.testing.assert_close(source.flatten(2) @ attention, attended.flatten(2), rtol=0, atol=1e-9)


def test_both_paths_have_the_same_gradients(monkeypatch):
    torch.manual_seed(0)
    module = CoAttention(6, 3).double()
    first, second = (
        torch.rand(2, 6, *size, dtype=torch.float64, requires_grad=True) for size in ((3, 4), (5, 2))
    )
    gradients = []
    for limit in (2**26, 0):
        monkeypatch.setattr(coattention, "LARGEST_AFFINITY", limit)
        attended = module(first, second)
        loss = sum(
            module.unshared_class_maps(f, g).square().sum()
            for f, g in zip((first, second), attended, strict=True)
        )
        gradients.append(torch.autograd.grad(loss, [first, second, *module.parameters()]))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
        assert one.any()


PEAK_GROWTH = """
import resource, torch
from wsss_bench.methods.mcis.coattention import CoAttention
torch.set_num_threads(1)
module, features = CoAttention(8, 2), torch.rand(1, 8, 92, 92, requires_grad=True)
sum(attended.sum() for attended in module(features[..., :4, :4], features[..., :4, :4])).backward()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
sum(attended.sum() for attended in module(features, features)).backward()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10)
"""


@pytest.mark.slow
def test_an_affinity_beyond_the_limit_is_never_held_in_memory():
    """92 x 92 positions: an affinity of 273 MiB, of which the other path stores several."""
    done = subprocess.run([sys.executable, "-c", PEAK_GROWTH], capture_output=True, text=True, check=True)
    assert coattention.LARGEST_AFFINITY < 92**4
    assert float(done.stdout) < 100


def test_a_partner_with_zero_features_gives_zero_maps():
    """There is no residual and no bias: common class maps are zero, and the mask is one half."""
    module = CoAttention(4, 3)
    first, partner = torch.rand(1, 4, 3, 3), torch.zeros(1, 4, 2, 2)
    attended, _ = module(first, partner)
    assert not module.common_class_maps(attended).any()
    assert (module.common_object_mask(attended) == 0.5).all()
    assert module.common_object_mask(attended).shape == (1, 1, 3, 3)


def test_the_heads_have_the_published_size():
    counts = {name: p.numel() for name, p in CoAttention(512, 20).named_parameters()}
    assert counts == {"affinity.weight": 512 * 512, "classifier.weight": 20 * 512, "mask.weight": 512}


def test_large_affinities_do_not_overflow_in_half_precision():
    module = CoAttention(64, 2)
    features = torch.full((1, 64, 2, 2), 200.0)
    with torch.autocast("cpu", dtype=torch.float16):
        attended, _ = module(features.half(), features.half())
    assert attended.dtype == torch.float32
    assert torch.isfinite(attended).all()
