"""CPU time of GradCAM seeds of CLIP-ES against a whole backward pass for each class.

The reference runs all blocks with gradients and, for every labelled class, a backward pass down to the first
block, as GradCAM is usually written; its maps are the same. The network has the blocks of ViT-S/16 and random
weights, and the image 384 x 512 pixels. Both sides alternate, and the median ratio of their CPU times is
printed for several numbers of labels.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from records import recorded
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel

from wsss_bench.nn.clip import CLIP
from wsss_bench.nn.clip_blocks import run_blocks
from wsss_bench.nn.grad_cam import label_gradients
from wsss_bench.nn.weights import locate

ROUNDS = 5
CLASSES, BACKGROUNDS = 20, 25


def random_clip(folder: Path) -> CLIP:
    """A CLIP whose image tower has 12 blocks of width 384, with the text tower of the shipped one."""
    shipped = Path(locate("package:mini/clip"))
    for file in shipped.iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, folder)
    text = json.loads((shipped / "config.json").read_text())["text_config"]
    vision = {
        "image_size": 224, "patch_size": 16, "hidden_size": 384, "intermediate_size": 1536,
        "num_hidden_layers": 12, "num_attention_heads": 6,
    }  # fmt: skip
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=64)).save_pretrained(folder)
    return CLIP(str(folder)).requires_grad_(False)


def ours(clip: CLIP, image: Tensor, texts: Tensor, labels: Tensor) -> Tensor:
    """Channel weights of the labelled classes: 11 blocks without gradients, k backward passes of the last."""
    with torch.no_grad():
        *_, output = clip.block_outputs(image, blocks=11)
    found = label_gradients(clip, output.tokens, texts[:CLASSES], texts[CLASSES:], labels)
    return found.channel_weights[0]


def whole_backward(clip: CLIP, image: Tensor, texts: Tensor, labels: Tensor) -> Tensor:
    """The same from one forward pass and k backward passes of the whole tower."""
    kept: list[Tensor] = []

    def keep(module: object, inputs: object, output: Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    *blocks, last = clip.model.vision_model.encoder.layers
    clip.requires_grad_(True)
    hook = last.layer_norm1.register_forward_hook(keep)
    output = run_blocks([*blocks, last], clip.embed_patches(image))
    feature = clip.model.visual_projection(clip.model.vision_model.post_layernorm(output[:, 1:]).mean(dim=1))
    chosen = torch.cat([labels > 0, torch.ones(1, BACKGROUNDS) > 0], dim=1)[0]
    logits = clip.model.logit_scale.exp() * F.normalize(feature, dim=-1) @ texts[chosen].T
    probabilities = logits.softmax(dim=1)[0]
    weights = []
    for label in range(int(labels.sum())):
        clip.zero_grad()
        kept[0].grad = None
        probabilities[label].backward(retain_graph=True)
        gradient = kept[0].grad
        assert gradient is not None
        weights.append(gradient[0, 1:].mean(dim=0))
    hook.remove()
    clip.zero_grad()
    clip.requires_grad_(False)
    return torch.stack(weights)


def cpu_seconds(call: Callable[[], Tensor]) -> float:
    """CPU time of a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    """Print the ratios."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        clip = random_clip(Path(folder))
    image = torch.randn(1, 3, 384, 512)
    texts = F.normalize(torch.randn(CLASSES + BACKGROUNDS, clip.embed_dim), dim=1)
    with recorded(__file__) as record:
        for count in (1, 3, 5):
            labels = torch.zeros(1, CLASSES)
            labels[0, :count] = 1
            arguments = clip, image, texts, labels
            first, second = ours(*arguments), whole_backward(*arguments)
            scale = float(second.abs().max())
            difference = float((first - second).abs().max()) / scale
            ratios = [
                cpu_seconds(partial(whole_backward, *arguments)) / cpu_seconds(partial(ours, *arguments))
                for _ in range(ROUNDS)
            ]
            record(
                f"GradCAM of CLIP-ES against whole backward passes, {count} label{'s' * (count > 1)}",
                f"{statistics.median(ratios):.1f}x as fast, channel weights equal to {difference:.0e}",
                "3x" if count == 3 else "",
            )


if __name__ == "__main__":
    main()
