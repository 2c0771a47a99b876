"""Imported once by the forkserver, so that stages forked from it have the slow packages in memory.

It only imports: no CUDA context and no thread pool may exist before the fork. A package that is absent or
broken is skipped; the stage that needs it then fails with its own message.
"""

from __future__ import annotations

import contextlib
from importlib import import_module
from importlib.util import find_spec

from wsss_bench.artifacts.run import commit
from wsss_bench.artifacts.source_code import loaded_code

PACKAGES = (
    "torch",
    "torchvision",
    "lightning",
    "lightning.pytorch.cli",
    "jsonargparse",
    "timm",
    "transformers",
    "transformers.models.clip.modeling_clip",
    "torchmetrics",
    "albumentations",
    "wandb",
    "wandb.sdk.launch.inputs.internal",  # what the first `wandb.init` imports: one to three seconds
    "scipy.ndimage",
    "matplotlib.figure",
    "wsss_bench.methods",
    "wsss_bench.stages.fit",
    "wsss_bench.stages.predict",
    "wsss_bench.stages.crf",
    "wsss_bench.stages.refine",
    "wsss_bench.stages.evaluate",
    "wsss_bench.stages.protocol",
    "wsss_bench.stages.scored_files",
    "wsss_bench.stages.check",
)

for package in PACKAGES:
    with contextlib.suppress(Exception):
        if find_spec(package) is not None:
            import_module(package)

# cached for every stage: the code that runs is the one loaded here, even if it changes later
commit()
loaded_code().remember_loaded()
