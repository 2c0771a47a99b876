"""The small image classifiers: their architecture, their training loop, and the pretraining of the ResNet.

They stand for ImageNet weights. The ResNet is a single-label classifier on pictures of single classes; the ViT has a file of
its own (`vit.py`). Both are timm models and are loaded the way timm's own weights are; the classifier head is kept in
a file of its own, because the methods bring theirs.
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
from wsss_bench.mini.weights.web import Web
from wsss_bench.mini.world.grammar import CLASS_NAMES


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
    web_images: int = 24_000  # images of the mini web


RESNET = ClassifierRecipe(
    Architecture("resnet10t", {"channels": [32, 64, 96, 128]}), head="fc", steps=1200, lr=3e-3
)


def train_resnet(web: Web, recipe: ClassifierRecipe, seed: int) -> Any:
    """Cross entropy on the single-class images of the web; progress goes to standard error."""
    index, labels = (torch.from_numpy(array) for array in web.single_class())

    def loss(model: Any, chosen: Tensor, step: int, rng: torch.Generator) -> Tensor:
        image = standardize(augment(to_unit(web.image[index[chosen].numpy()]), rng), recipe.architecture)
        (logits,) = readings(model, image)
        return F.cross_entropy(logits, labels[chosen])

    return fit(recipe, len(CLASS_NAMES), len(index), loss, seed)


def fit(
    recipe: ClassifierRecipe,
    outputs: int,
    samples: int,
    loss_of: Callable[[Any, Tensor, int, torch.Generator], Tensor],
    seed: int,
) -> Any:
    """Train a timm model; it comes back in evaluation mode.

    Args:
        recipe: Network, length and optimiser.
        outputs: Width of the head.
        samples: Images to draw from, all of them once before one comes again.
        loss_of: `(model, indices of a batch, step, generator) -> scalar`.
        seed: Of the weights and of the generator.
    """
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    architecture = recipe.architecture
    model = timm.create_model(architecture.model, num_classes=outputs, **architecture.kwargs).train()
    optimizer, schedule = make_optimizer(model, recipe.lr, recipe.weight_decay, recipe.steps, recipe.warmup)
    order = torch.empty(0, dtype=torch.long)
    for step in range(recipe.steps):
        if len(order) < recipe.batch:
            order = torch.randperm(samples, generator=rng)
        chosen, order = order[: recipe.batch], order[recipe.batch :]
        loss = loss_of(model, chosen, step, rng)
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
    """Logits (B, K) of every read-out that must work: the pooled map of a timm ResNet; the class token and
    the maximum of each channel over the patches of a timm ViT, through one head."""
    features = model.forward_features(image)
    if features.ndim == 4:
        return [model.forward_head(features)]
    return [model.head(features[:, 0]), model.head(features[:, 1:].amax(1))]


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
    head = load_file(folder / f"{name}_head.safetensors")
    model.reset_classifier(len(head["weight"]))
    model.get_classifier().load_state_dict(head)
    return model.eval(), architecture
