"""Hook of the docs site: README.md is its first page, with links as they are from the folder docs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

README = Path(__file__).parents[1] / "README.md"
PLACE = "CHANGELOG.md"


def on_files(files: Files, config: Any) -> Files:
    """Add the README and the changelog, which lie beside the folder of the docs."""
    text = README.read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "index.md", content=text))
    changelog = README.with_name(PLACE).read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, PLACE, content=changelog))
    return files
