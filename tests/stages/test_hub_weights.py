"""Which pretrained weights a configuration loads, and whether they are here; nothing is fetched."""

from __future__ import annotations

import pytest
from huggingface_hub import constants

from wsss_bench.stages import hub_weights
from wsss_bench.stages.hub_weights import Weights, missing_weights, weights_of

CAM = "wsss_bench.methods.cam.CAM"
CLIMS = "wsss_bench.methods.clims.CLIMS"
SMALL = {"backbone": "package:mini2/resnet.json", "weights": "package:mini2/resnet.safetensors"}


def model(class_path, **arguments):
    return {"model": {"class_path": class_path, "init_args": arguments}}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (model(CAM), ["timm resnet50.tv_in1k"]),  # by default
        (model(CAM, backbone="convnext_tiny"), ["timm convnext_tiny"]),
        (model(CAM, weights=None), []),
        (model(CAM, **SMALL), []),
        (model(CAM, weights="own/w.pth"), ["file own/w.pth"]),
        (model(CAM, **SMALL | {"weights": "imagenet"}), ["timm resnet10t"]),  # the network of the recipe
        (model("wsss_bench.methods.clip_zeroshot.CLIPZeroShot"), ["CLIP openai/clip-vit-base-patch16"]),
        (model("wsss_bench.methods.clip_zeroshot.CLIPZeroShot", clip="package:mini/clip"), []),
        (model("wsss_bench.methods.clip_es.CLIPES", clip="/own/clip"), ["folder /own/clip"]),
        (model("wsss_bench.methods.weclip.WeCLIP", clip="../own/nested/clip"), ["folder ../own/nested/clip"]),
        (
            model("wsss_bench.methods.single_stage.dalnet.DALNet", text={"templates": "single"}),
            ["timm vit_base_patch16_224.orig_in21k_ft_in1k", "CLIP openai/clip-vit-base-patch16"],
        ),
        (model("wsss_bench.segmenters.deeplabv2.DeepLabV2"), ["timm resnet101.tv_in1k"]),
        ({}, []),
    ],
)
def test_what_a_configuration_loads(config, expected):
    assert [str(weights) for weights in weights_of(config.get("model"))] == expected


@pytest.fixture
def cached(monkeypatch):
    """Files of the cache, as `repository/file`."""
    files: set[str] = set()
    monkeypatch.setattr(
        hub_weights,
        "try_to_load_from_cache",
        lambda repository, file: "/cache/file" if f"{repository}/{file}" in files else None,
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return files


def test_a_folder_of_clip_that_does_not_exist(tmp_path):
    (sentence,) = missing_weights(model("wsss_bench.methods.clip_es.CLIPES", clip=f"{tmp_path}/clip"))
    assert sentence == f"weights: there is no folder {tmp_path}/clip; put it there, or name another"
    assert not missing_weights(model("wsss_bench.methods.clip_es.CLIPES", clip=str(tmp_path)))


def test_weights_in_the_cache_are_enough(cached):
    (sentence,) = missing_weights(model(CAM))
    assert "timm resnet50.tv_in1k are not in" in sentence
    assert "wsss-bench weights" in sentence
    cached.add("timm/resnet50.tv_in1k/model.safetensors")
    assert missing_weights(model(CAM)) == []


def test_a_clip_model_needs_all_of_its_files(cached):
    clip = Weights("CLIP", "openai/clip-vit-base-patch16")
    for file in ("config.json", "pytorch_model.bin", "vocab.json"):
        cached.add(f"{clip.name}/{file}")
    assert not clip.is_here
    cached.add(f"{clip.name}/preprocessor_config.json")
    assert clip.is_here


def test_where_the_network_is_allowed_only_files_can_be_missing(cached, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert missing_weights(model(CAM)) == []
    (sentence,) = missing_weights(model(CAM, weights="no/such.pth"))
    assert "there is no file no/such.pth" in sentence


def test_a_file_and_a_folder_are_here(tmp_path):
    (tmp_path / "w.pth").touch()
    assert missing_weights(model(CAM, weights=str(tmp_path / "w.pth"))) == []
    assert Weights("CLIP", str(tmp_path)).is_here


def test_paths_with_variables_are_read_as_the_stage_reads_them(tmp_path, monkeypatch):
    (tmp_path / "w.pth").touch()
    config = model(CAM, weights="${OWN_WEIGHTS}/w.pth")
    monkeypatch.setenv("OWN_WEIGHTS", str(tmp_path))
    assert missing_weights(config) == []
    monkeypatch.delenv("OWN_WEIGHTS")
    (sentence,) = missing_weights(config)
    assert "the environment variable OWN_WEIGHTS, which is not set" in sentence
