"""Networks that are trained on masks, of segmenters and of refiners, as subjects of the checks of methods."""

from dataclasses import replace
from functools import cache

import paths

from wsss_bench.contract.configuration import CPU
from wsss_bench.contract.subject import Subject
from wsss_bench.plan.config import MethodFile
from wsss_bench.plan.reader import read_configs

FOLDER = read_configs(paths.CONFIGS)
CAM = FOLDER.method("cam", "mini", CPU)
WITH_OVERLAY = {path.name.split(".")[0] for path in paths.CONFIGS.rglob("*.mini.yaml")}
SEGMENTERS = [name for name in ("deeplabv2", "largefov") if name in WITH_OVERLAY]
REFINERS = ["irn", "psa"]


@cache
def network(name, world):
    """A segmenter or the network of a refiner, as a method that is trained on true masks."""
    if name in SEGMENTERS:
        spec = FOLDER.segmenter(name, "mini", CPU)
    else:
        spec = FOLDER.refiner(name, "mini", CPU).network
    content = MethodFile(spec.model, replace(CAM.bench, contract={}), {**spec.data, "view": "mask"}, CPU)
    return Subject(name, content, world)
