"""Each pretraining learns in a few steps, and its files load through `transformers` and `timm`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from torch.nn import functional as F

from wsss_bench.mini.weights.classifier import (
    RESNET,
    Architecture,
    load_classifier,
    readout_logits,
    save_classifier,
    standardize,
    to_unit_range,
    train_resnet,
)
from wsss_bench.mini.weights.clip import ClipRecipe, encode_images, make_clip, save_clip, train_clip
from wsss_bench.mini.weights.record import FILES, changed_files, read_records, write_record
from wsss_bench.mini.weights.schedule import make_optimizer
from wsss_bench.mini.weights.tokenizer import make_tokenizer
from wsss_bench.mini.weights.vit import VIT, train_vit
from wsss_bench.mini.weights.web_images import WebImages, make_web_images
from wsss_bench.nn.clip import CLIP

pytestmark = pytest.mark.slow

SHORT = ClipRecipe(steps=6, batch=8, warmup=2)


@pytest.fixture(scope="module")
def web() -> WebImages:
    return make_web_images(random_seed=1, count=48)


def test_clip_folder_round_trip(web: WebImages, tmp_path: Path) -> None:
    model, tokenizer = train_clip(web, SHORT, random_seed=0)
    save_clip(model, tokenizer, tmp_path / "clip")
    loaded = CLIP(str(tmp_path / "clip"))
    assert (loaded.patch_size, loaded.image_size, loaded.embed_dim) == (8, 96, 64)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}  # saved in half precision
    image = loaded.normalize(to_unit_range(web.images[:2]))
    model.float()
    with torch.no_grad():
        expected = F.normalize(model.get_image_features(image).pooler_output, dim=-1)
        torch.testing.assert_close(loaded.encode_image(image), expected, rtol=1e-4, atol=1e-5)
    ids = loaded.tokenizer(["A photo of cows, zebra"]).input_ids[0]
    words = loaded.tokenizer.convert_ids_to_tokens(ids)
    assert words == ["<|startoftext|>", "a", "photo", "of", "cows", ",", "<|unknown|>", "<|endoftext|>"]
    assert all((tmp_path / file).exists() for file in FILES["clip"])


def test_clip_training_is_reproducible(web: WebImages) -> None:
    first, _ = train_clip(web, replace(SHORT, steps=2), random_seed=4)
    second, _ = train_clip(web, replace(SHORT, steps=2), random_seed=4)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_training_pass_without_dropped_patches_equals_the_inference_pass(
    web: WebImages, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    model = make_clip(tokenizer).half().float()
    save_clip(model, tokenizer, tmp_path / "clip")
    loaded, model = CLIP(str(tmp_path / "clip")), model.float()
    image = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        class_token, patches = encode_images(model, image, 1.0, torch.Generator().manual_seed(0))
        torch.testing.assert_close(class_token, loaded.encode_image(image), rtol=1e-4, atol=1e-5)
        # patches come in random order: compare as sets, by their sums
        torch.testing.assert_close(patches.sum(1), loaded.dense(image).sum((2, 3)), rtol=1e-4, atol=1e-4)


def test_resnet_learns_and_loads_through_timm(web: WebImages, tmp_path: Path) -> None:
    recipe = replace(RESNET, steps=16, batch=16, warmup=3)
    model = train_resnet(web, recipe, random_seed=0)
    index, labels = web.single_class()
    image = standardize(to_unit_range(web.images[index]), recipe.architecture)
    with torch.no_grad():
        (logits,) = readout_logits(model.train(), image)
    assert F.cross_entropy(logits, torch.from_numpy(labels)).item() < 1.98  # chance is log 8 = 2.08
    model.eval()
    save_classifier(model, recipe, tmp_path, "resnet")
    same_after_loading(model, tmp_path, "resnet", image[:4], recipe.architecture)


def test_vit_learns_and_loads_through_timm(web: WebImages, tmp_path: Path) -> None:
    recipe = replace(VIT, steps=24, batch=16, warmup=3)
    model = train_vit(web, recipe, random_seed=0)
    image = standardize(to_unit_range(web.images), recipe.architecture)
    presence = torch.from_numpy(web.presence)
    model.patch_drop = torch.nn.Identity()
    with torch.no_grad():
        for logits in readout_logits(model, image):
            # relative to the mean, so that the frequency of a noun does not count
            centred = logits - logits.mean(0)
            assert centred[presence == 1].mean() > centred[presence == 0].mean() + 0.05
    save_classifier(model, recipe, tmp_path, "vit")
    same_after_loading(model, tmp_path, "vit", image[:4], recipe.architecture)


def same_after_loading(
    model: torch.nn.Module, folder: Path, name: str, image: torch.Tensor, architecture: Architecture
) -> None:
    loaded, found = load_classifier(folder, name)
    assert (found.model, found.kwargs) == (architecture.model, architecture.kwargs)
    with torch.no_grad():
        for ours, theirs in zip(readout_logits(model, image), readout_logits(loaded, image), strict=True):
            torch.testing.assert_close(theirs, ours, rtol=0.02, atol=0.02)  # half precision on disk


def test_resnet_loads_as_a_feature_extractor(web: WebImages, tmp_path: Path) -> None:
    recipe = RESNET
    torch.manual_seed(0)
    model = timm.create_model(recipe.architecture.model, num_classes=8, **recipe.architecture.kwargs)
    save_classifier(model, recipe, tmp_path, "resnet")
    features = timm.create_model(
        recipe.architecture.model,
        features_only=True,
        output_stride=8,
        checkpoint_path=str(tmp_path / "resnet.safetensors"),
        **recipe.architecture.kwargs,
    )
    assert features.feature_info.channels()[-1] == 128
    assert features(torch.zeros(1, 3, 96, 96))[-1].shape == (1, 128, 12, 12)


def test_schedule_warms_up_and_ends_at_two_percent() -> None:
    module = torch.nn.Linear(2, 2)
    optimizer, schedule = make_optimizer(module, lr=1.0, weight_decay=0.1, steps=10, warmup=4)
    rates = []
    for _ in range(11):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[10] == pytest.approx(0.02)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert optimizer.param_groups[1]["params"] == [module.bias]


def test_changed_files_differ_from_their_recorded_sha256(tmp_path: Path) -> None:
    for file in FILES["vit"]:
        (tmp_path / file).write_text(file)
    write_record(tmp_path, "vit", {"seed": 0}, {"accuracy": 0.5})
    assert changed_files(tmp_path, "vit") == []
    (tmp_path / "vit.json").write_text("other")
    assert changed_files(tmp_path, "vit") == ["vit.json"]
    (tmp_path / "resnet.json").write_text("{}")
    for file in FILES["resnet"]:
        (tmp_path / file).write_text(file)
    write_record(tmp_path, "resnet", {"seed": 0}, {})
    assert set(read_records(tmp_path)) == {"resnet", "vit"}
    assert json.loads((tmp_path / "measurements.json").read_text())["vit"]["measurements"] == {
        "accuracy": 0.5
    }
