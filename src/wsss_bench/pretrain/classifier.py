"""Pretraining of the small ResNet and the small ViT: one class out of eight, from the mini web.

They stand for ImageNet weights: a single-label classifier on pictures of single classes. Both are timm models
and are loaded the way timm's own weights are; the classifier head is kept in a file of its own, because the
methods bring theirs.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file, save_file
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor
from torch.nn import functional as F

from ..data.mini.grammar import CLASS_NAMES, IMAGE_SIZE
from .schedule import make_optimizer
from .web import Web


@dataclass(frozen=True)
class Architecture:
    """What `timm.create_model(model, **kwargs)` needs, and the statistics of the input in [0, 1]."""

    model: str
    kwargs: dict[str, Any]
    mean: tuple[float, ...] = IMAGENET_DEFAULT_MEAN
    std: tuple[float, ...] = IMAGENET_DEFAULT_STD

    @classmethod
    def read(cls, path: Path) -> Architecture:
        """From the `<name>.json` beside the weights."""
        return cls(**json.loads(path.read_text()))


@dataclass(frozen=True)
class ClassifierRecipe:
    """Settings of one run."""

    architecture: Architecture
    head: str  # name of timm's classifier layer
    steps: int
    lr: float
    batch: int = 64
    weight_decay: float = 0.05
    warmup: int = 80
    pool: int = 24_000  # images of the mini web; about two thirds show one class
    training_kwargs: dict[str, Any] = field(default_factory=dict)  # of timm, for the training alone


RECIPES: dict[str, ClassifierRecipe] = {
    "resnet": ClassifierRecipe(
        Architecture("resnet10t", {"channels": [32, 64, 96, 128]}), head="fc", steps=1200, lr=3e-3
    ),
    "vit": ClassifierRecipe(
        Architecture(
            "vit_tiny_patch16_224",
            {"img_size": IMAGE_SIZE, "patch_size": 8, "embed_dim": 96, "depth": 6, "num_heads": 3},
        ),
        head="head",
        steps=2500,
        lr=1.5e-3,
        training_kwargs={"patch_drop_rate": 0.5},
    ),
}


def train_classifier(web: Web, recipe: ClassifierRecipe, seed: int) -> Any:
    """Train on the single-class images of the web; progress goes to standard error."""
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    architecture = recipe.architecture
    model = timm.create_model(
        architecture.model, num_classes=len(CLASS_NAMES), **architecture.kwargs, **recipe.training_kwargs
    ).train()
    optimizer, schedule = make_optimizer(model, recipe.lr, recipe.weight_decay, recipe.steps, recipe.warmup)
    index, labels = (torch.from_numpy(array) for array in web.single_class())
    order = torch.empty(0, dtype=torch.long)
    for step in range(recipe.steps):
        if len(order) < recipe.batch:
            order = torch.randperm(len(index), generator=rng)
        chosen, order = order[: recipe.batch], order[recipe.batch :]
        image = augment(to_unit(web.image[index[chosen].numpy()]), rng)
        loss = torch.stack(
            [
                F.cross_entropy(logits, labels[chosen])
                for logits in readings(model, standardize(image, architecture))
            ]
        ).mean()
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


def readings(model: Any, image: Tensor) -> list[Tensor]:
    """Logits (B, 8) of every read-out that must work: the pooled map of a timm ResNet; the class token and
    the mean of the patch tokens of a timm ViT, through one head."""
    features = model.forward_features(image)
    if features.ndim == 4:
        return [model.forward_head(features)]
    return [model.head(features[:, 0]), model.head(features[:, 1:].mean(1))]


def to_unit(image: Any) -> Tensor:
    """(B, 96, 96, 3) uint8 array -> (B, 3, 96, 96) in [0, 1]."""
    return torch.from_numpy(image).permute(0, 3, 1, 2).float() / 255


def standardize(image: Tensor, architecture: Architecture) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> with the mean and deviation that the network was trained on."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (architecture.mean, architecture.std))
    return (image - mean) / std


def augment(image: Tensor, rng: torch.Generator) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> about that: flip, gain and colour per image, one shift per batch."""
    flipped = torch.rand(len(image), 1, 1, 1, generator=rng) < 0.5
    image = torch.where(flipped, image.flip(3), image)
    down, right = torch.randint(-8, 9, (2,), generator=rng).tolist()
    gain = 0.85 + 0.3 * torch.rand(len(image), 1, 1, 1, generator=rng)
    colour = 0.02 * torch.randn(len(image), 3, 1, 1, generator=rng)
    return image.roll((down, right), (2, 3)) * gain + colour


def save_classifier(model: Any, recipe: ClassifierRecipe, folder: Path, name: str) -> None:
    """Write `<name>.safetensors` without the head, `<name>_head.safetensors` and `<name>.json`."""
    half = {
        key: (value.half() if value.is_floating_point() else value).contiguous()
        for key, value in model.state_dict().items()
    }
    mine = f"{recipe.head}."
    save_file({k: v for k, v in half.items() if not k.startswith(mine)}, folder / f"{name}.safetensors")
    save_file(
        {k.removeprefix(mine): v for k, v in half.items() if k.startswith(mine)},
        folder / f"{name}_head.safetensors",
    )
    (folder / f"{name}.json").write_text(json.dumps(asdict(recipe.architecture), indent=2) + "\n")


def load_classifier(folder: Path, name: str) -> tuple[Any, Architecture]:
    """The shipped network with its head, in evaluation mode."""
    architecture = Architecture.read(folder / f"{name}.json")
    weights = folder / f"{name}.safetensors"
    model: Any = timm.create_model(
        architecture.model, num_classes=0, checkpoint_path=str(weights), **architecture.kwargs
    )
    model.reset_classifier(len(CLASS_NAMES))
    model.get_classifier().load_state_dict(load_file(folder / f"{name}_head.safetensors"))
    return model.eval(), architecture
