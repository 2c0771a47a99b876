"""The small image classifiers: architecture, training loop, files, and the pretraining of the ResNet.

They take the place of ImageNet weights. The ResNet is a single-label classifier, trained on the web images
that show one class. `vit.py` has the pretraining of the ViT. Both are timm models and are loaded as timm's
own weights are. The classifier layer is stored in a separate file, because the methods bring their own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file, save_file
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.mini.weights.schedule import make_optimizer
from wsss_bench.mini.weights.web_images import TYPICAL, Web, WebImages
from wsss_bench.mini.world.scenes import CLASS_NAMES


@dataclass(frozen=True)
class Architecture:
    """Arguments of `timm.create_model(model, **kwargs)`, and mean and deviation of the input in [0, 1]."""

    model: str
    kwargs: dict[str, Any]
    mean: tuple[float, ...] = IMAGENET_DEFAULT_MEAN
    std: tuple[float, ...] = IMAGENET_DEFAULT_STD

    @classmethod
    def read(cls, path: Path) -> Architecture:
        """Read `<name>.json`, which is stored beside the weights."""
        return cls(**json.loads(path.read_text()))


@dataclass(frozen=True)
class ClassifierRecipe:
    """Settings of a pretraining run."""

    architecture: Architecture
    head: str  # name of the classifier layer in the timm model
    steps: int
    lr: float
    batch: int = 64
    weight_decay: float = 0.05
    warmup: int = 80
    web: Web = TYPICAL
    web_images: int = 24_000  # number of training images


RESNET = ClassifierRecipe(
    Architecture("resnet10t", {"channels": [32, 64, 96, 128]}), head="fc", steps=1200, lr=3e-3
)


def train_resnet(web: WebImages, recipe: ClassifierRecipe, random_seed: int) -> Any:
    """Train with cross entropy on the web images of one class; progress is printed to standard error."""
    indices, labels = (torch.from_numpy(array) for array in web.single_class())

    def batch_loss(model: Any, batch: Tensor, step: int, rng: torch.Generator) -> Tensor:
        images = augment(to_unit_range(web.images[indices[batch].numpy()]), rng)
        (logits,) = readout_logits(model, standardize(images, recipe.architecture))
        return F.cross_entropy(logits, labels[batch])

    return train_classifier(recipe, len(CLASS_NAMES), len(indices), batch_loss, random_seed)


def train_classifier(
    recipe: ClassifierRecipe,
    outputs: int,
    samples: int,
    batch_loss: Callable[[Any, Tensor, int, torch.Generator], Tensor],
    random_seed: int,
) -> Any:
    """Train a timm model from random weights and return it in evaluation mode.

    Args:
        recipe: Network, number of steps and optimiser settings.
        outputs: Number of outputs of the classifier layer.
        samples: Number of training images. They are shuffled anew in every pass.
        batch_loss: `(model, sample indices (B,), step, generator) -> scalar`.
        random_seed: Random seed of the weights and of the generator.
    """
    torch.manual_seed(random_seed)
    rng = torch.Generator().manual_seed(random_seed)
    architecture = recipe.architecture
    model = timm.create_model(architecture.model, num_classes=outputs, **architecture.kwargs).train()
    optimizer, schedule = make_optimizer(model, recipe.lr, recipe.weight_decay, recipe.steps, recipe.warmup)
    order = torch.empty(0, dtype=torch.long)
    for step in range(recipe.steps):
        if len(order) < recipe.batch:
            order = torch.randperm(samples, generator=rng)
        batch, order = order[: recipe.batch], order[recipe.batch :]
        loss = batch_loss(model, batch, step, rng)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == recipe.steps - 1:
            print(
                f"{architecture.model} {step + 1}/{recipe.steps}: {loss.item():.3f}",
                file=sys.stderr,
                flush=True,
            )
    return model.eval()


def readout_logits(model: Any, images: Tensor) -> list[Tensor]:
    """Logits of all read-outs on which methods may build.

    Args:
        model: A timm ResNet or ViT.
        images: (B, 3, S, S), standardized.

    Returns:
        ResNet: one tensor (B, K), from the pooled feature map. ViT: two, from the class token and from the
        maximum of each channel over the patch tokens, through the same classifier layer.
    """
    features = model.forward_features(images)
    if features.ndim == 4:
        return [model.forward_head(features)]
    return [model.head(features[:, 0]), model.head(features[:, 1:].amax(1))]


def to_unit_range(images: Any) -> Tensor:
    """(B, 96, 96, 3) uint8 array -> (B, 3, 96, 96) in [0, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def standardize(images: Tensor, architecture: Architecture) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> with the mean and deviation of the network's training."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (architecture.mean, architecture.std))
    return (images - mean) / std


def augment(images: Tensor, rng: torch.Generator) -> Tensor:
    """Random flip, gain and colour per image, and one shift (wrapped around) per batch.

    Args:
        images: (B, 3, H, W) in [0, 1].
        rng: Source of the random numbers.

    Returns:
        (B, 3, H, W), which may exceed [0, 1] a little.
    """
    flipped = torch.rand(len(images), 1, 1, 1, generator=rng) < 0.5
    images = torch.where(flipped, images.flip(3), images)
    down, right = torch.randint(-8, 9, (2,), generator=rng).tolist()
    gain = 0.85 + 0.3 * torch.rand(len(images), 1, 1, 1, generator=rng)
    colour = 0.02 * torch.randn(len(images), 3, 1, 1, generator=rng)
    return images.roll((down, right), (2, 3)) * gain + colour


def save_classifier(model: Any, recipe: ClassifierRecipe, folder: Path, name: str) -> None:
    """Write `<name>.safetensors`, `<name>_head.safetensors` (classifier layer) and `<name>.json`."""
    half = {
        key: (value.half() if value.is_floating_point() else value).contiguous()
        for key, value in model.state_dict().items()
    }
    prefix = f"{recipe.head}."
    save_file({k: v for k, v in half.items() if not k.startswith(prefix)}, folder / f"{name}.safetensors")
    save_file(
        {k.removeprefix(prefix): v for k, v in half.items() if k.startswith(prefix)},
        folder / f"{name}_head.safetensors",
    )
    (folder / f"{name}.json").write_text(json.dumps(asdict(recipe.architecture), indent=2) + "\n")


def load_classifier(folder: Path, name: str) -> tuple[Any, Architecture]:
    """The network of a folder with its classifier layer, in evaluation mode, and its architecture."""
    architecture = Architecture.read(folder / f"{name}.json")
    weights = folder / f"{name}.safetensors"
    model: Any = timm.create_model(
        architecture.model, num_classes=0, checkpoint_path=str(weights), **architecture.kwargs
    )
    head = load_file(folder / f"{name}_head.safetensors")
    model.reset_classifier(len(head["weight"]))
    model.get_classifier().load_state_dict(head)
    return model.eval(), architecture
