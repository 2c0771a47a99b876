"""The network of WeCLIP's golden arrays: the tiny CLIP, and a decoder of weights drawn from their names."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import paths
import torch
from golden_clip import word
from torch import Tensor

from wsss_bench.methods.weclip import DecoderConfig, WeCLIP
from wsss_bench.nn.competing_texts import Texts
from wsss_bench.types import ImageBatch

GOLDEN = paths.GOLDEN / "weclip"
SIZES = {"voc": (20, 25), "coco": (80, 23)}
"""Classes and background texts."""


def golden(name: str) -> dict[str, np.ndarray]:
    """Arrays of one file."""
    return dict(np.load(GOLDEN / f"{name}.npz"))


def golden_method(clip: Path, texts: str = "voc", **arguments: object) -> WeCLIP:
    """WeCLIP with the golden weights.

    Args:
        clip: Folder of the tiny CLIP.
        texts: `voc` or `coco`.
        **arguments: Of WeCLIP.
    """
    num_classes, num_backgrounds = SIZES[texts]
    names = [f"class {c}" for c in range(num_classes)]
    # any texts: the embeddings are golden ones, since the tokenizer reads numbers only
    class_words = {name: word(100 + c) for c, name in enumerate(names)}
    own = Texts(class_words, [word(300 + j) for j in range(num_backgrounds)], templates="mini")
    method = WeCLIP(
        names, clip=str(clip), texts=own, decoder=DecoderConfig(width=32, dropout=0.0), **arguments
    )
    embedded = np.load(paths.GOLDEN / "clip_es" / "program_text.npz")
    method.class_texts.copy_(torch.from_numpy(embedded[f"{texts}_foreground"]))
    method.background_texts.copy_(torch.from_numpy(embedded[f"{texts}_background"]))
    method.load_state_dict(decoder_weights(1 + num_classes), strict=False)
    return method


def golden_batch(labels: list[np.ndarray], num_classes: int) -> ImageBatch:
    """The two images of the golden training steps, with 0-based labels."""
    images = torch.from_numpy(golden("training_step_static")["image_uint8"]).permute(0, 3, 1, 2).float() / 255
    multi_hot = torch.zeros(2, num_classes)
    for row, own in enumerate(labels):
        multi_hot[row, torch.from_numpy(own)] = 1
    return ImageBatch(["a", "b"], images, multi_hot, torch.ones(2, 112, 112, dtype=torch.bool))


def decoder_weights(num_outputs: int) -> dict[str, Tensor]:
    """Trained parameters by our names; 1x1 convolutions are linear layers here."""
    network = golden("network")
    weights = {}
    facts = zip(network["decoder_names"], network["decoder_shapes"], network["decoder_checksum"], strict=True)
    for name, shape, checksum in facts:
        sizes = [int(size) for size in shape.split(",")]
        changed = "linear_pred" in name and num_outputs != sizes[0]
        value = _drawn(str(name), [num_outputs, *sizes[1:]] if changed else sizes)
        assert changed or np.isclose(value.double().sum(), checksum, atol=1e-3), name
        weights[our_name(str(name))] = value.flatten(1) if value.ndim == 4 else value
    return weights


def our_name(name: str) -> str:
    """The authors' name of a parameter -> ours, with `fusion.` or `decoder.` in front."""
    for theirs, ours in (
        ("decoder_fts_fuse.", "fusion."),
        ("linears_modulelist.", "projections."),
        (".proj.", ".0."),
        (".proj_2.", ".2."),
        ("linear_fuse.", "mix."),
        ("transformer.resblocks.", "blocks."),
        ("linear_pred.", "classifier."),
    ):
        name = name.replace(theirs, ours)
    return name


def _drawn(name: str, sizes: list[int]) -> Tensor:
    if "ln_" in name:
        low, high = (0.8, 1.2) if name.endswith("weight") else (-0.1, 0.1)
    elif name.endswith("bias"):
        low, high = -0.05, 0.05
    else:
        low = {"decoder_fts_fuse.linear_fuse.weight": -0.012, "decoder.linear_pred.weight": -0.1}.get(
            name, -0.2
        )
        high = -low
    draws = np.random.RandomState(zlib.crc32(name.encode())).uniform(low, high, size=int(np.prod(sizes)))
    return torch.from_numpy(draws.reshape(sizes).astype(np.float16).astype(np.float32))
