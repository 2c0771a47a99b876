"""A bright spot in the image is drawn where it is, by every method and segmenter of `configs`.

The networks get weights that only sample: a convolution passes on its central pixel, a patch is the mean of
its pixels, and attention, MLPs and norms do nothing. What remains is where the cells lie and where they are
drawn. The spot is smooth and wider than a cell, so that the cells that see it have their centre of mass on
its own. Sizes are no multiples of a stride.
"""

from functools import cache

import paths
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from wsss_bench.inference import InferenceConfig
from wsss_bench.methods.base import Method
from wsss_bench.plan.reader import read_configs
from wsss_bench.stages.fit import FitCLI

pytestmark = pytest.mark.slow

FOLDER = read_configs(paths.CONFIGS)
KINDS = {"method": "methods", "segmenter": "segmenters"}
NETWORKS = [
    (kind, name)
    for kind, folder in KINDS.items()
    for name in FOLDER.names(folder)
    if kind == "method" or f"segmenters/{name}.mini.yaml" in FOLDER.listed
]
SIZES = [(375, 500), (333, 500), (301, 417)]


def stretched(pixel, length, cells):
    """A convolution samples pixel `stride * i`, and the cells share the image equally."""
    return (pixel / STRIDES[0] + 0.5) * length / cells - 0.5


class Unchanged(nn.Module):
    """A block of a transformer that does nothing."""

    def forward(self, tokens, *_):
        return tokens


def only_sample(module):
    """Give a network weights that only sample."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.LayerNorm | nn.GroupNorm) or type(child).__name__ == "ImageNetNormalize":
            setattr(module, name, nn.Identity())
        elif type(child).__name__ == "Block":
            setattr(module, name, Unchanged())
        else:
            only_sample(child)
    for name, parameter in module.named_parameters(recurse=False):
        parameter.data.zero_()  # biases, position embeddings, class tokens
        if name == "weight" and parameter.ndim == 1:
            parameter.data.fill_(1)
    if isinstance(module, nn.BatchNorm2d):
        module.reset_running_stats()
    if isinstance(module, nn.Linear):
        module.weight.data.fill_(1 / module.in_features)
    if isinstance(module, nn.Conv2d):
        if module.kernel_size == module.stride:  # patches, and convolutions of one pixel
            module.weight.data.fill_(1 / module.weight[0].numel())
        else:
            rows, columns = (size // 2 for size in module.kernel_size)
            module.weight.data[..., rows, columns] = 1 / module.weight.shape[1]


def patch_means(image, patch):
    return F.avg_pool2d(image.mean(dim=1, keepdim=True), patch)


@cache
def built(kind, name):
    """The network of the mini world with weights that only sample, its inference, and its stride or patch."""
    content = getattr(FOLDER, kind)(name, "mini", FOLDER.trainer("cpu"))
    cli = FitCLI(
        {
            "model": {"class_path": content.model.class_path, "init_args": content.model.init_args},
            "data": {**content.data, "source": FOLDER.data("mini").source},
            "trainer": {**content.trainer, "max_epochs": 1},
            "out": "nothing is written",
        }
    )
    method = cli.model.eval()
    classes = len(method.class_names)
    if hasattr(method, "grounding"):  # TCL, CoDe: scores at a quarter of the patch
        patch = method.grounding.clip.patch_size
        method.grounding.scores = lambda image, *_: F.interpolate(
            patch_means(image, patch).expand(-1, classes, -1, -1), scale_factor=4, mode="nearest"
        )
    elif hasattr(method, "clip"):
        method._cosines = lambda image: patch_means(image, method.clip.patch_size).expand(-1, classes, -1, -1)
    else:
        only_sample(method)
    return method, InferenceConfig(**content.inference)


def test_look(mini_data):
    for kind, name in NETWORKS:
        method, config = built(kind, name)
        print(name, config.pad_to, config.window, method.seed_placement, method.segmentation_placement)
        image = torch.rand(1, 3, 96, 96)
        with torch.no_grad():
            for f in ("seed_maps", "segmentation_logits"):
                if getattr(type(method), f) is not getattr(Method, f):
                    out = getattr(method, f)(image)
                    print("   ", f, tuple(out.shape), out.min().item(), out.max().item())
