"""`make docs`: the site is built from README and docs, strictly, and asks for nothing on the network."""

import os
import re
import subprocess
import sys

import paths
import pytest

pytest.importorskip("mkdocs")


def test_the_site_is_built_and_fetches_nothing(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        command,
        cwd=paths.ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    home = (tmp_path / "index.html").read_text()
    assert 'href="methods.html"' in home
    assert 'src="images/comparison.webp"' in home
    assert 'id="wsss_bench.metrics.functional.confusion"' in (tmp_path / "reference.html").read_text()
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        fetched = re.findall(r'<(?:script|img|link)[^>]+(?:src|href)="(https?:[^"]+)"', page.read_text())
        assert [address for address in fetched if "canonical" not in address] == []
