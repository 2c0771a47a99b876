"""The tiny CLIPs of golden arrays, written for `from_pretrained`. Words are golden token ids.

`write_golden_clip` is that of CoDe's arrays, whose weights are stored; `write_generated_clip` that of the
arrays of CLIP-ES and WeCLIP, whose weights follow from the names of the parameters.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import paths
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

GOLDEN = paths.GOLDEN / "code"
START, END = 49406, 49407  # ids of the golden tokenizer


def golden(name: str, folder: Path = GOLDEN) -> dict[str, np.ndarray]:
    """Arrays of one golden file."""
    return dict(np.load(folder / f"{name}.npz"))


def tensors(name: str, folder: Path = GOLDEN) -> dict[str, Tensor]:
    """Its numeric arrays as tensors; float16 ones, which are exact, as float32."""
    return {
        key: torch.from_numpy(value.astype(np.float32) if value.dtype == np.float16 else value)
        for key, value in golden(name, folder).items()
        if value.dtype.kind in "fiu"
    }


def write_golden_clip(folder: Path) -> Path:
    """Write the model, its tokenizer and image statistics."""
    arrays = golden("tiny_clip")
    saved = [int(token) for token in arrays["token_ids_saved"]]
    model = CLIPModel(_config(len(saved), end=saved.index(END), pad=saved.index(0)))
    model.load_state_dict(from_openai(arrays))
    model.save_pretrained(folder)
    _write_tokenizer(folder, saved)
    _write_statistics(folder, [0.5, 0.4, 0.3], [0.2, 0.25, 0.5])
    return folder


def write_generated_clip(folder: Path) -> Path:
    """Write the model of CLIP-ES's arrays, its tokenizer and CLIP's image statistics."""
    arrays = {"w__" + name.replace(".", "__"): value for name, value in _generated_weights().items()}
    arrays["token_embedding_rows"] = arrays["w__token_embedding__weight"]
    text = {
        "vocab_size": 49408, "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2,
        "num_attention_heads": 1, "max_position_embeddings": 77, "eos_token_id": END, "pad_token_id": 0,
        "bos_token_id": START,
    }  # fmt: skip
    vision = {
        "image_size": 112, "patch_size": 16, "hidden_size": 128, "intermediate_size": 512,
        "num_hidden_layers": 12, "num_attention_heads": 2,
    }  # fmt: skip
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=32))
    model.load_state_dict(from_openai(arrays, vision_layers=12))
    model.save_pretrained(folder)
    _write_tokenizer(folder, list(range(49408)))
    _write_statistics(folder, [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
    return folder


def _generated_weights() -> dict[str, np.ndarray]:
    facts = golden("network", paths.GOLDEN / "clip_es")
    weights = {}
    for name, shape, total in zip(facts["names"], facts["shapes"], facts["abs_checksum"], strict=True):
        sides = tuple(int(side) for side in shape.split(",") if side)
        if name == "logit_scale":
            value = np.float32(np.float16(np.log(10)))
        else:
            low, high = _range_of(str(name))
            random = np.random.RandomState(zlib.crc32(name.encode()))
            value = random.uniform(low, high, int(np.prod(sides))).reshape(sides)
            value = value.astype(np.float16).astype(np.float32)
        assert np.isclose(np.abs(value.astype(np.float64)).sum(), total, rtol=1e-4), name
        weights[str(name)] = np.asarray(value)
    return weights


def _range_of(name: str) -> tuple[float, float]:
    if ".ln_" in name or name.startswith("ln_"):
        return (0.8, 1.2) if name.endswith("weight") else (-0.1, 0.1)
    if name.endswith("bias"):
        return -0.05, 0.05
    if name.endswith(("positional_embedding", "class_embedding")) or name == "token_embedding.weight":
        return -0.5, 0.5
    return -0.15, 0.15


def _write_tokenizer(folder: Path, saved: list[int]) -> None:
    words = {word(token): row for row, token in enumerate(saved)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=word(0)))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    start, end = word(START), word(END)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, words[start]), (end, words[end])]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=word(0), bos_token=start, eos_token=end
    ).save_pretrained(folder)


def _write_statistics(folder: Path, mean: list[float], std: list[float]) -> None:
    statistics = {"image_mean": mean, "image_std": std}
    (folder / "preprocessor_config.json").write_text(json.dumps(statistics))


def sentence(ids: Iterable[int]) -> str:
    """The words of a row of golden token ids, without start, end and padding."""
    return words(*(int(token) for token in ids if token not in (0, START, END)))


def words(*tokens: int) -> str:
    """A sentence of golden token ids."""
    return " ".join(map(word, tokens))


def word(token: int) -> str:
    """Spelling of a golden token id as a word, e.g. `<320>`."""
    return f"<{token}>"


def _config(vocabulary: int, end: int, pad: int) -> CLIPConfig:
    text = {
        "vocab_size": vocabulary, "hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 77, "eos_token_id": end, "pad_token_id": pad,
        "bos_token_id": end - 1,
    }  # fmt: skip
    vision = {
        "image_size": 32, "patch_size": 8, "hidden_size": 64, "intermediate_size": 256,
        "num_hidden_layers": 3, "num_attention_heads": 1,
    }  # fmt: skip
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=32)


def from_openai(
    arrays: dict[str, np.ndarray], vision_layers: int = 3, text_layers: int = 2
) -> dict[str, Tensor]:
    """State dict of OpenAI's CLIP -> that of `transformers`; the input projection is split into q, k, v."""
    state = {
        "logit_scale": arrays["w__logit_scale"],
        "text_projection.weight": arrays["w__text_projection"].T,
        "text_model.embeddings.token_embedding.weight": arrays["token_embedding_rows"],
        "text_model.embeddings.position_embedding.weight": arrays["w__positional_embedding"],
        "vision_model.embeddings.class_embedding": arrays["w__visual__class_embedding"],
        "vision_model.embeddings.position_embedding.weight": arrays["w__visual__positional_embedding"],
        "vision_model.embeddings.patch_embedding.weight": arrays["w__visual__conv1__weight"],
        "visual_projection.weight": arrays["w__visual__proj"].T,
    }
    norms = {
        "vision_model.pre_layrnorm": "visual__ln_pre",
        "vision_model.post_layernorm": "visual__ln_post",
        "text_model.final_layer_norm": "ln_final",
    }
    for tower, prefix, layers in (
        ("vision_model", "visual__transformer", vision_layers),
        ("text_model", "transformer", text_layers),
    ):
        for layer in range(layers):
            ours, theirs = f"{tower}.encoder.layers.{layer}", f"{prefix}__resblocks__{layer}"
            norms |= {f"{ours}.layer_norm{k}": f"{theirs}__ln_{k}" for k in (1, 2)}
            norms |= {f"{ours}.mlp.fc1": f"{theirs}__mlp__c_fc", f"{ours}.mlp.fc2": f"{theirs}__mlp__c_proj"}
            norms[f"{ours}.self_attn.out_proj"] = f"{theirs}__attn__out_proj"
            for kind in ("weight", "bias"):
                parts = np.split(arrays[f"w__{theirs}__attn__in_proj_{kind}"], 3)
                for name, part in zip("qkv", parts, strict=True):
                    state[f"{ours}.self_attn.{name}_proj.{kind}"] = part
    for ours, theirs in norms.items():
        state |= {f"{ours}.{kind}": arrays[f"w__{theirs}__{kind}"] for kind in ("weight", "bias")}
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in state.items()}
