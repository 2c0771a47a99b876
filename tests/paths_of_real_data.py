"""Photographs that may lie beside the checkout. They are never copied; without them tests are skipped."""

import os
from pathlib import Path

import paths
import pytest

ROOT = Path(os.environ.get("WSSS_REAL", paths.ROOT.parent / "shared" / "real"))


def needs(name: str) -> pytest.MarkDecorator:
    """Skip the test where a file of the real data is absent."""
    return pytest.mark.skipif(not (ROOT / name).exists(), reason=f"no {name} in {ROOT}")
