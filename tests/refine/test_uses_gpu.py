"""What the files of the refiners say about GPUs is what their classes do."""

from importlib import import_module

import paths
import pytest

from wsss_bench.plan.reader import read_configs

FOLDER = read_configs(paths.CONFIGS)
NAMES = sorted({path.name.split(".")[0] for path in (paths.CONFIGS / "refine").glob("*.yaml")})


@pytest.mark.parametrize("name", NAMES)
def test_file_and_class_agree(name):
    file = FOLDER.refiner(name, "mini", {})
    module, _, kind = file.refiner.class_path.rpartition(".")
    assert file.uses_gpu == getattr(import_module(module), kind).uses_gpu
