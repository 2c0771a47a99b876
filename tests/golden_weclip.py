"""The decoder of WeCLIP's golden arrays; its weights are drawn from their names (`golden/weclip`)."""

from __future__ import annotations

import zlib

import numpy as np
import paths
import torch
from torch import Tensor

from wsss_bench.nn.fusion_decoder import TokenFusion, TransformerDecoder

GOLDEN = paths.GOLDEN / "weclip"
WIDTH, CHANNELS, BLOCKS = 32, 128, 11


def golden(name: str) -> dict[str, np.ndarray]:
    """Arrays of one file."""
    return dict(np.load(GOLDEN / f"{name}.npz"))


def decoder_weights(num_outputs: int = 21) -> dict[str, Tensor]:
    """Parameters by the authors' names."""
    network = golden("network")
    weights = {}
    for name, shape in zip(network["decoder_names"], network["decoder_shapes"], strict=True):
        sizes = [int(size) for size in shape.split(",")]
        if "linear_pred" in name:
            sizes[0] = num_outputs
        weights[str(name)] = _drawn(str(name), sizes)
    return weights


def golden_fusion() -> TokenFusion:
    """The fusion with the golden weights."""
    fusion = TokenFusion(BLOCKS, CHANNELS, WIDTH)
    fusion.load_state_dict(_renamed("decoder_fts_fuse.", decoder_weights()))
    return fusion


def golden_decoder(num_outputs: int = 21) -> TransformerDecoder:
    """The decoder with the golden weights."""
    decoder = TransformerDecoder(WIDTH, num_outputs)
    decoder.load_state_dict(_renamed("decoder.", decoder_weights(num_outputs)))
    return decoder


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


def _renamed(part: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a part, without its name; 1x1 convolutions are linear layers here."""
    own = {our_name(name): value for name, value in weights.items() if name.startswith(part)}
    return {
        name.split(".", 1)[1]: value.flatten(1) if value.ndim == 4 else value for name, value in own.items()
    }


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
