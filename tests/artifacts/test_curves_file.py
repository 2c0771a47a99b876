"""Reading the curves of a training."""

from __future__ import annotations

import pytest

from wsss_bench.artifacts.curves import read_rows


def test_rows_by_step_without_empty_cells(tmp_path):
    path = tmp_path / "curves.csv"
    assert read_rows(path) == []
    path.write_text("step,epoch,lr/0,train/loss\n5,0,0.1,\n9,0,,0.25\n")
    assert read_rows(path) == [
        (5, {"step": "5", "epoch": "0", "lr/0": "0.1"}),
        (9, {"step": "9", "epoch": "0", "train/loss": "0.25"}),
    ]


@pytest.mark.parametrize("text", ["epoch,a\n0,1\n", "step,a\nx,1\n", 'step,a\n1,"2\n'])
def test_a_damaged_file_is_named(tmp_path, text):
    path = tmp_path / "curves.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"curves\.csv cannot be read"):
        read_rows(path)
