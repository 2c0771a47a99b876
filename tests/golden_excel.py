"""The networks of ExCEL's golden arrays (`golden/excel`)."""

from __future__ import annotations

from pathlib import Path

import golden_clip
import numpy as np
import paths
import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

GOLDEN = paths.GOLDEN / "excel"
WORDS = [0, golden_clip.START, golden_clip.END, *range(1, 8)]
"""Golden token ids that the tokenizer of `write_tower` knows."""
TOLERANCE = {"rtol": 1e-4, "atol": 2e-5}


def tensors(name: str) -> dict[str, Tensor]:
    """Arrays of one file."""
    return {key: torch.from_numpy(value) for key, value in np.load(GOLDEN / f"{name}.npz").items()}


def write_tower(folder: Path, name: str) -> Path:
    """Write the image tower of `<name>.npz` as a CLIP, with a text tower that says nothing."""
    arrays = dict(np.load(GOLDEN / f"{name}.npz"))
    blocks = sum(key.endswith("attn__in_proj_weight") for key in arrays)
    width, embed_dim = arrays["w__proj"].shape
    side, patch = round((len(arrays["w__positional_embedding"]) - 1) ** 0.5), int(arrays["patch"])
    weights = {
        key.replace("w__", "w__visual__", 1): value for key, value in arrays.items() if key.startswith("w__")
    }
    weights |= {
        "w__logit_scale": np.float32(1),
        "w__text_projection": np.zeros((8, embed_dim), np.float32),
        "token_embedding_rows": np.zeros((len(WORDS), 8), np.float32),
        "w__positional_embedding": np.zeros((8, 8), np.float32),
        "w__ln_final__weight": np.ones(8, np.float32),
        "w__ln_final__bias": np.zeros(8, np.float32),
    }
    text = {
        "vocab_size": len(WORDS), "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 0,
        "num_attention_heads": 1, "max_position_embeddings": 8, "eos_token_id": 2, "bos_token_id": 1,
        "pad_token_id": 0,
    }  # fmt: skip
    vision = {
        "image_size": side * patch, "patch_size": patch, "hidden_size": width, "intermediate_size": 4 * width,
        "num_hidden_layers": blocks, "num_attention_heads": int(arrays["heads"]),
    }  # fmt: skip
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=embed_dim))
    model.load_state_dict(golden_clip.from_openai(weights, vision_layers=blocks, text_layers=0))
    model.save_pretrained(folder)
    golden_clip.write_tokenizer(folder, WORDS)
    golden_clip.write_statistics(folder, [0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
    return folder


def heads() -> dict[str, Tensor]:
    """Parameters of adapter and decoder by our names."""
    arrays = tensors("model_heads").items()
    return {
        our_name(key): value.flatten(1) if value.ndim == 4 else value for key, value in arrays if "__" in key
    }


def our_name(name: str) -> str:
    """The authors' name of a parameter of adapter or decoder, with `__` for dots -> ours."""
    for theirs, ours in (
        ("__", "."),
        ("linear_fuse.", "mix."),
        ("fuse.", "fusion."),
        ("dec.", "decoder."),
        ("linears_modulelist.", "projections."),
        (".proj.", ".0."),
        (".proj_2.", ".2."),
        ("transformer.resblocks.", "blocks."),
        ("linear_pred.", "classifier."),
    ):
        name = name.replace(theirs, ours)
    return name
