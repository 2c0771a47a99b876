"""Runs a notebook in a kernel, and gives what its cells printed and drew."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from paths import ROOT
from PIL import Image

FOLDER = ROOT / "notebooks"


@dataclass(frozen=True)
class Executed:
    """A notebook that ran without an error.

    Args:
        outputs: What each code cell left, by the id of the cell, as the notebook format has it.
    """

    outputs: dict[str, list[dict[str, Any]]]

    def text(self, cell: str) -> str:
        """What a cell printed, and the Markdown that it displayed."""
        parts = [one.get("text") or one.get("data", {}).get("text/markdown") for one in self.outputs[cell]]
        return "".join("".join(part) for part in parts if part)

    def pictures(self, cell: str) -> list[np.ndarray]:
        """The figures of a cell, `(H, W, 3)` uint8."""
        found = [one["data"]["image/png"] for one in self.outputs[cell] if "image/png" in one.get("data", {})]
        files = [io.BytesIO(base64.b64decode("".join(content))) for content in found]
        return [np.asarray(Image.open(file).convert("RGB")) for file in files]


def execute(name: str, project: Path, **environment: str) -> Executed:
    """Run a copy of a notebook in the folder `notebooks` of a project.

    Args:
        name: Name of the notebook, without suffix.
        project: A folder with experiments, data and runs, as the repository.
        **environment: Variables that the notebook reads.
    """
    copy = project / "notebooks" / f"{name}.ipynb"
    copy.parent.mkdir(exist_ok=True)
    shutil.copy(FOLDER / copy.name, copy)
    command = [sys.executable, "-m", "pytest", "--nbmake", "--overwrite", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, str(copy)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        cwd=project,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    cells = json.loads(copy.read_text())["cells"]
    return Executed({cell["id"]: cell["outputs"] for cell in cells if cell["cell_type"] == "code"})
