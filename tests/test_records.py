"""What a benchmark measures is kept, and a benchmark that fails changes nothing (`benchmarks/records.py`)."""

import json
import re
from runpy import run_path

import paths
import pytest


@pytest.fixture
def records(tmp_path, monkeypatch):
    """The names of the module; it writes to `tmp_path`."""
    found = run_path(str(paths.ROOT / "benchmarks" / "records.py"))
    monkeypatch.setitem(found["recorded"].__wrapped__.__globals__, "RECORDS", tmp_path / "performance.json")
    monkeypatch.setattr("sys.argv", ["x.py", "--crop", "32"])
    return found


def test_results_are_printed_and_replace_those_of_the_same_benchmark(records, tmp_path, capsys):
    kept = tmp_path / "performance.json"
    kept.write_text(json.dumps({"other.py": {"results": []}, "perf_x.py": {"results": ["old"]}}))
    with records["recorded"]("benchmarks/perf_x.py") as record:
        record("a step", "1.50x", "2x")
        record("memory", "3 MB")
    found = json.loads(kept.read_text())
    assert found["other.py"] == {"results": []}
    assert found["perf_x.py"]["results"] == [
        {"what": "a step", "measured": "1.50x", "asked": "2x"},
        {"what": "memory", "measured": "3 MB", "asked": ""},
    ]
    assert found["perf_x.py"]["command"] == "python benchmarks/perf_x.py --crop 32"
    assert re.fullmatch(r".+, \d+ cores", found["perf_x.py"]["machine"])
    assert capsys.readouterr().out == "a step: 1.50x (asked: 2x)\nmemory: 3 MB\n"


def test_a_benchmark_that_fails_keeps_nothing(records, tmp_path):
    def measure():
        with records["recorded"]("perf_x.py") as record:
            record("a step", "1.50x")
            raise RuntimeError("the two sides differ")

    with pytest.raises(RuntimeError):
        measure()
    assert not (tmp_path / "performance.json").exists()


def test_a_record_has_no_path_of_a_machine(records, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["x.py", "mini", "--runs", "/somewhere/runs", "--data=/data/voc", "a/b"])
    with records["recorded"]("perf_x.py"):
        pass
    command = json.loads((tmp_path / "performance.json").read_text())["perf_x.py"]["command"]
    assert command == "python benchmarks/perf_x.py mini --runs runs --data=voc a/b"
    shipped = json.loads((paths.ROOT / "docs" / "tables" / "performance.json").read_text())
    words = [word for entry in shipped.values() for word in entry["command"].replace("=", " ").split()]
    assert not [word for word in words if word.startswith("/")]
