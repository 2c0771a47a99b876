"""Every loss of the package runs in float32, also with extreme bfloat16 inputs under autocast."""

import importlib
import inspect
import pkgutil
import re

import pytest
import torch
from torch import Tensor

import wsss_bench
from wsss_bench.methods.single_stage.dalnet_losses import Prototypes, match_probability
from wsss_bench.methods.single_stage.object_mask import ObjectMask
from wsss_bench.nn.precision import in_float32
from wsss_bench.refine.walk.losses import PairLabels

PARTS = ("losses", "methods", "segmenters", "refine")
COSINES = torch.tensor([0.99, -0.01, 0.0, 1.0])
LABELS = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
PIXELS = torch.tensor([[[0, 1], [2, 255]], [[255, 255], [1, 0]]])
LOGITS = torch.linspace(-80, 80, 24).view(2, 3, 2, 2)
MASK = ObjectMask(torch.tensor([[[True, False], [False, False]]] * 2), torch.tensor([[False, True]] * 2))
ACTIVE = torch.tensor([[True, True, True, False], [True, True, False, True]])


def unit(cosines: Tensor) -> Tensor:
    """`(N, 2)` unit vectors with these cosines to (1, 0)."""
    return torch.stack([cosines, (1 - cosines**2).sqrt()], dim=1)


IMAGE, TEXT = unit(torch.tensor([1.0, 0.99])), unit(torch.tensor([1.0, -0.01]))
PATCHES = unit(COSINES).view(2, 2, 2)
PROTOTYPES = Prototypes(
    PATCHES, torch.ones(2, 2, dtype=torch.bool), PATCHES, torch.ones(2, 2, dtype=torch.bool)
)
PAIRS = PairLabels(*torch.eye(3, dtype=torch.bool).repeat(1, 2)[:, None, None, :4])
MAPS = PATCHES.reshape(2, 2, 2, 1)
GRID = MAPS.repeat(1, 1, 1, 2)
CASES = {
    "losses.classification.multilabel_soft_margin": [(torch.tensor([[80.0, -80.0], [0.0, 0.01]]), LABELS)],
    "losses.segmentation.cross_entropy": [(LOGITS, PIXELS)],
    "losses.segmentation.balanced_cross_entropy": [(LOGITS, PIXELS)],
    "losses.segmentation.cross_entropy_per_image": [(LOGITS, PIXELS)],
    "losses.pair_affinity.pair_affinity_loss": [
        (torch.tensor([[[0.99, 0.01], [0.0, 1.0]]]), torch.tensor([[[1, 0], [255, 1]]]))
    ],
    "methods.clims.losses.clamp_similarity": [(COSINES,)],
    "methods.excel.class_maps.patch_text_maps": [(torch.linspace(-1, 1, 12).view(2, 3, 2), TEXT)],
    "methods.excel.feature_affinity.cosines": [(PATCHES,)],
    "methods.clims.losses.object_text_matching": [(torch.tensor([0.99, 1e-4, 1.0]),)],
    "methods.clims.losses.unclamped_object_text_matching": [(torch.tensor([0.99, -0.01, 1.0]),)],
    "methods.clims.losses.background_text_matching": [(torch.tensor([0.99, -0.01, 0.0]),)],
    "methods.clims.losses.background_suppression": [(torch.tensor([[0.99, -0.01, 0.0]]), 0.26)],
    "methods.clims.losses.class_related_background_suppression": [
        (torch.tensor([[0.99, -0.01, 0.0]]), torch.tensor([[True, True, False]]))
    ],
    "methods.clims.losses.area_regularization": [(torch.linspace(0, 1, 3000).view(3, 10, 10, 10),)],
    "methods.mcis.losses.contrastive_coattention_loss": [(80 * LABELS - 40, LABELS)],
    "methods.mcis.losses.classification_loss": [([80 * LABELS, LABELS], [LABELS, LABELS])],
    "methods.weclip.token_affinity": [(40 * PATCHES,)],
    "methods.single_stage.dalnet_losses.match_probability": [
        (COSINES, kind) for kind in ("affine", "clamp", "sigmoid")
    ],
    "methods.single_stage.dalnet_losses.global_implicit_alignment": [
        (IMAGE, TEXT, unit(COSINES), LABELS, ACTIVE, kind, reduce)
        for kind in ("affine", "clamp", "sigmoid")
        for reduce in ("mean", "max", "sum")
    ],
    "methods.single_stage.dalnet_losses.local_explicit_alignment": [
        (PATCHES, TEXT, unit(COSINES), LABELS, ACTIVE, MASK, kind, True, True)
        for kind in ("affine", "clamp", "sigmoid")
    ],
    "methods.single_stage.dalnet_losses.class_prototypes": [(PATCHES, MASK)],
    "methods.single_stage.dalnet_losses.image_to_text_contrast": [
        (PROTOTYPES, TEXT, unit(COSINES), LABELS, ACTIVE, 0.01)
    ],
    "methods.single_stage.dalnet_losses.text_to_image_contrast": [(PROTOTYPES, TEXT, 0.01, True)],
    "methods.single_stage.patch_token_contrast.patch_token_contrast": [
        (MAPS, torch.tensor([[[255, 1], [0, 255]]] * 2))
    ],
    "methods.single_stage.class_token_contrast.class_token_contrast": [
        (40 * PATCHES, 40 * PATCHES, torch.tensor([[True, False]] * 2), 0.5)
    ],
    "methods.text_grounding.losses.grounding_terms": [
        (GRID, GRID.clamp(0, 1), TEXT, torch.tensor(4.6), 0.25)
    ],
    "methods.text_grounding.losses.masked_pool": [(MAPS, MAPS.clamp(0, 1))],
    "methods.text_grounding.losses.total_variation": [(torch.linspace(0, 1, 800).view(2, 4, 10, 10),)],
    "methods.text_grounding.losses.area_loss": [(COSINES, torch.ones(4), 0.4)],
    "methods.text_grounding.losses.text_segmentation_loss": [(LOGITS[:, :, 0], PIXELS[:, 0] % 3)],
    "methods.text_grounding.losses.prompt_distance": [(PATCHES[0], TEXT)],
    "methods.text_grounding.text_segmenter.noun_logits": [
        (PATCHES.transpose(1, 2), PATCHES, torch.tensor(10.0), torch.tensor(0.0))
    ],
    "methods.text_grounding.info_nce.info_nce": [(IMAGE, TEXT, torch.tensor(4.6))],
    "methods.text_grounding.info_nce.info_nce_of_cosines": [(COSINES.view(2, 2), torch.tensor(4.6))],
    "methods.text_grounding.info_nce.symmetric_cross_entropy": [
        (100 * COSINES.view(2, 2), 100 * COSINES.view(2, 2).T, 0)
    ],
    "refine.walk.losses.affinity_loss": [(COSINES.clamp(0, 1).view(1, 1, 4), PAIRS)],
    "refine.walk.losses.displacement_loss": [
        (torch.linspace(-30, 30, 50).view(1, 2, 5, 5), PairLabels(*torch.rand(3, 1, 12, 3).gt(0.5)), 3)
    ],
}
"""Arguments of every loss, with the cosines .99, -.01, 0 and 1 where its range allows them."""


def functions():
    """All public functions of the parts that have losses, by name without `wsss_bench.`."""
    found = {}
    for part in PARTS:
        package = importlib.import_module(f"wsss_bench.{part}")
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(info.name)
            for name, function in inspect.getmembers(module, inspect.isfunction):
                if function.__module__ == info.name and not name.startswith("_"):
                    found[f"{info.name.removeprefix(f'{wsss_bench.__name__}.')}.{name}"] = function
    return found


FUNCTIONS = functions()


def test_float32_convolutions_are_float32_on_every_gpu():
    """Not TF32, which is PyTorch's default on A100 and later."""
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


IN_FLOAT32 = {name for name, f in FUNCTIONS.items() if f.__code__.co_name == "in_full_precision"}


def test_every_loss_has_a_case():
    """A new loss is added to the cases above."""
    assert set(CASES) == IN_FLOAT32


def test_every_function_that_takes_a_logarithm_or_is_called_a_loss_runs_in_float32():
    logarithm = r"(?<!math)\.log(1p|sumexp|addexp)?\(|cross_entropy\(|soft_margin"
    for name, function in FUNCTIONS.items():
        source = inspect.getsource(function)
        if name.endswith("_loss") or re.search(logarithm, source):
            assert name in IN_FLOAT32, f"{name} computes a loss; give it the decorator in_float32"


def rounded(value, leaves):
    """Arguments with floating tensors in bfloat16, which are collected as leaves."""
    if isinstance(value, Tensor) and value.is_floating_point():
        leaves.append(value.to(torch.bfloat16).requires_grad_())
        return leaves[-1]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*[rounded(item, leaves) for item in value])
    return (
        type(value)([rounded(item, leaves) for item in value]) if isinstance(value, (list, tuple)) else value
    )


def in_full(value):
    """The same numbers in float32."""
    if isinstance(value, Tensor):
        return value.detach().float() if value.is_floating_point() else value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(in_full, value))
    return type(value)(map(in_full, value)) if isinstance(value, (list, tuple)) else value


def values(result):
    results = result if isinstance(result, tuple) else (result,)
    return [one for one in results if one.is_floating_point()]


@pytest.mark.parametrize(
    ("name", "case"), [(name, k) for name, cases in CASES.items() for k in range(len(cases))]
)
def test_a_loss_of_bfloat16_under_autocast_is_that_of_float32(name, case):
    leaves = []
    arguments = rounded(CASES[name][case], leaves)
    with torch.autocast("cpu", torch.bfloat16):
        results = values(FUNCTIONS[name](*arguments))
    expected = values(FUNCTIONS[name](*in_full(arguments)))
    assert results
    for result, reference in zip(results, expected, strict=True):
        assert result.dtype == torch.float32
        assert torch.isfinite(result).all()
        torch.testing.assert_close(result, reference, rtol=1e-3, atol=1e-3)
    sum(result.sum() for result in results).backward()
    for leaf in leaves:
        assert leaf.grad is None or torch.isfinite(leaf.grad).all()


def test_without_the_decorator_a_clamp_rounds_to_one():
    """The case that stopped DALNet: its loss at a cosine near 1 was infinite."""

    def mismatch(cosine):
        return -torch.log(1 - match_probability.__wrapped__(cosine, "clamp"))

    cosine = torch.tensor(0.999, dtype=torch.bfloat16)
    assert torch.isinf(mismatch(cosine))
    assert torch.isfinite(in_float32(mismatch)(cosine))


def test_float64_and_other_values_stay_as_they_are():
    @in_float32
    def types(*tensors, **named):
        assert not torch.is_autocast_enabled("cpu")
        return [t.dtype for t in (*tensors, *named.values())]

    with torch.autocast("cpu", torch.bfloat16):
        found = types(torch.ones(1).double(), torch.ones(1).half(), flag=torch.ones(1).bool())
    assert found == [torch.float64, torch.float32, torch.bool]
