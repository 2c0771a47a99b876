"""What is checked and filled in as the plan reads a YAML file, or an option that stands for a part of one."""

from __future__ import annotations

from typing import Any

from wsss_bench.own_modules import admit
from wsss_bench.plan.schema import ConfigError
from wsss_bench.ranges import refuse_not_finite
from wsss_bench.renamed import find_renamed
from wsss_bench.short_names import with_full_paths


def accepted(given: dict[str, Any], place: str, kind: str) -> dict[str, Any]:
    """The content with full class paths in the place of short names.

    The own modules that it names are found from here on, so that the plan knows their code.

    Args:
        given: The content.
        place: File or option, for messages.
        kind: Kind of file: `experiment`, or its folder, such as `configs/methods`.

    Raises:
        ConfigError: NaN or infinity, a name that is no longer used, or an unknown short name of a class.
    """
    try:
        refuse_not_finite(given, f"{place}: ")
        content: dict[str, Any] = with_full_paths(given, f"{place}: ")
    except ValueError as error:
        raise ConfigError(str(error)) from error
    message = find_renamed(content, kind)
    if message is not None:
        raise ConfigError(f"{place}: {message}")
    admit(content)
    return content
