"""Environment variables in the paths of configurations, so that these do not name a folder of one machine."""

from __future__ import annotations

import os
import re

DEFAULTS = {"WSSS_DATA": "data"}
_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")


def expand_variables(path: str) -> str:
    """Replace `${NAME}` and `$NAME` by the value of the environment variable; `WSSS_DATA` defaults to `data`.

    Raises:
        ValueError: another variable that is not set.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(2)
        found = os.environ.get(name) or DEFAULTS.get(name)
        if found is None:
            raise ValueError(
                f"{path!r} uses the environment variable {name}, which is not set; export {name}=... "
                "or write the path itself"
            )
        return found

    return _VARIABLE.sub(value, path)
