"""`metrics.json`: an exact round trip, and a file that cannot be read names itself."""

import json
from dataclasses import replace

import pytest

from wsss_bench.artifacts.metrics import METRICS, Metrics, ScoredRow, read_metrics, write_metrics


def metrics():
    row = ScoredRow(
        protocol="toy-val/n3/labels-none/ss/raw/thr-na/last",
        image_labels="none",
        scales="ss",
        post="raw",
        rule="na",
        threshold=None,
        checkpoint="last",
        n_images=3,
        miou=0.1 + 0.2,
        iou=(0.9, 1 / 3, None),
        false_positive_background=0.125,
        false_negative_background=None,
        absent=("dog",),
        headline=True,
        boundary_iou=(0.5, 1 / 3, None),
    )
    return Metrics("toy", "val", "segmentation", ("cat", "dog"), (row,), curve=None)


def test_round_trip(tmp_path):
    write_metrics(tmp_path, metrics())
    assert read_metrics(tmp_path) == metrics()
    assert list(json.loads((tmp_path / METRICS).read_text())) == [
        *("dataset", "split", "product", "class_names", "rows", "curve")
    ]


def test_a_file_of_an_earlier_version_has_no_scores_near_boundaries(tmp_path):
    write_metrics(tmp_path, metrics())
    content = json.loads((tmp_path / METRICS).read_text())
    del content["rows"][0]["boundary_iou"]
    (tmp_path / METRICS).write_text(json.dumps(content))
    assert read_metrics(tmp_path).rows == (replace(metrics().rows[0], boundary_iou=None),)


def test_scores_near_boundaries_have_an_entry_for_each_class(tmp_path):
    write_metrics(tmp_path, metrics())
    content = json.loads((tmp_path / METRICS).read_text())
    content["rows"][0]["boundary_iou"].pop()
    (tmp_path / METRICS).write_text(json.dumps(content))
    with pytest.raises(ValueError, match="an IoU for each class and for background"):
        read_metrics(tmp_path)


@pytest.mark.parametrize("key", ["rows", "class_names", "split"])
def test_a_file_without_a_key_names_itself(tmp_path, key):
    write_metrics(tmp_path, metrics())
    content = json.loads((tmp_path / METRICS).read_text())
    content["figures"] = content.pop(key)
    (tmp_path / METRICS).write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match=r"metrics\.json does not have the expected keys .*put an intact copy there"
    ):
        read_metrics(tmp_path)
