"""Stages with compiled networks: `trainer.callbacks` with `CompiledNetworks`, by inductor."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from planned_stages import fit_config, seed_config

from wsss_bench.artifacts.layout import LAST, SEEDS
from wsss_bench.artifacts.seeds import read_seed, seed_ids
from wsss_bench.cli import main

CALLBACK = "wsss_bench.compiled_networks.CompiledNetworks"
OWN = """
from torch import nn
from wsss_bench.methods.cam import CAM

class Own(CAM):
    def __init__(self, class_names, **options):
        super().__init__(class_names, **options)
        del self.backbone
        self.own = nn.Sequential(nn.Conv2d(3, 6, 3, 4), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(6, 6, 1))
        self.head = nn.Conv2d(6, len(self.class_names), 1)

    def parameter_groups(self):
        return [{"params": list(self.parameters())}]

    def _class_maps(self, image):
        return self.head(self.own(self.normalize(image)))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="inductor needs a C++ compiler on the CPU"
)
def test_stages_of_an_own_method_with_inductor(voc_root, tmp_path, monkeypatch, capsys):
    """Dropout draws the same, the checkpoint is a plain one, and either kind of stage reads it."""
    (tmp_path / "own_compiled.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    plain, compiled = (run_fit(voc_root, tmp_path / f"fit-{c}", c) for c in (False, True))
    assert "torch.compile: graphs: 1, blocks: 1" in capsys.readouterr().out
    states = [torch.load(out / LAST, weights_only=True)["state_dict"] for out in (plain, compiled)]
    assert states[0].keys() == states[1].keys()
    for key, value in states[0].items():
        assert torch.allclose(states[1][key], value, atol=1e-4), key
    own, other = (run_seeds(voc_root, tmp_path / f"seeds-{c}", compiled, c) for c in (True, False))
    assert "torch.compile: graphs: " in capsys.readouterr().out
    ids = seed_ids(own)
    assert ids == seed_ids(other)
    for image_id in ids:
        assert abs(read_seed(own, image_id).scores - read_seed(other, image_id).scores).max() < 0.02


def run_fit(root, out, compiled):
    content = fit_config(root) | {"out": str(out)}
    content["trainer"] |= {"max_epochs": 1, "limit_train_batches": 2}
    return run_stage("fit", content, compiled)


def run_seeds(root, out, train, compiled):
    content = seed_config(root, train) | {"out": str(out)}
    return run_stage("predict", content, compiled) / SEEDS


def run_stage(command, content, compiled):
    content["model"]["class_path"] = "own_compiled.Own"
    content["trainer"]["callbacks"] = [{"class_path": CALLBACK}] if compiled else None
    path = Path(f"{content['out']}.yaml")
    path.write_text(yaml.safe_dump(content))
    assert main([command, "--config", str(path)]) == 0
    return Path(content["out"])
