"""Weight names of configs: a hub name, a path on disk, or a file shipped with the package."""

from __future__ import annotations

import os

from wsss_bench.artifacts.layout import ASSET_PREFIX as PREFIX
from wsss_bench.artifacts.layout import ASSETS
from wsss_bench.variables import expand_variables


def locate(name: str) -> str:
    """Resolve a weight name of a config to a path or a hub name.

    Args:
        name: `package:mini/clip` names a file or folder shipped in `wsss_bench/assets`. In a path,
            environment variables and `~` are expanded.
            A hub name such as `openai/clip-vit-base-patch16` stays as it is.

    Raises:
        FileNotFoundError: a `package:` name that is not shipped.
        ValueError: an environment variable that is not set.
    """
    if not name.startswith(PREFIX):
        return os.path.expanduser(expand_variables(name))
    path = ASSETS / name.removeprefix(PREFIX)
    if not path.exists():
        shipped = sorted(str(p.relative_to(ASSETS)) for p in ASSETS.glob("*/*"))
        raise FileNotFoundError(f"{name!r} is not shipped with wsss_bench; shipped: {', '.join(shipped)}")
    return str(path)
