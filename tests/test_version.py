"""Package, citation and changelog tell one version, of one day."""

import re

import paths
import yaml

import wsss_bench


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text())
    changelog = (paths.ROOT / "CHANGELOG.md").read_text()
    newest = re.search(r"^## (\d\S*) \((\d{4}-\d\d-\d\d)\)$", changelog, re.MULTILINE)
    assert newest
    told = (str(citation["version"]), str(citation["date-released"]))
    assert told == newest.groups() == (wsss_bench.__version__, newest[2])
