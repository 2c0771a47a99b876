"""The parser of stages with a trainer."""

import pytest
import yaml
from jsonargparse import Namespace

from wsss_bench.stages.lightning_cli import keep_integers


@pytest.mark.parametrize("form", ["dict", "file", "option"])
def test_one_batch_is_not_all_batches(form, tmp_path):
    """Depending on earlier imports, the parser reads the integer 1 as 1.0."""
    content = {"trainer": {"limit_train_batches": 1, "limit_val_batches": 1.0, "max_epochs": 2}}
    (tmp_path / "stage.yaml").write_text(yaml.safe_dump(content))
    given = {
        "dict": content,
        "file": ["--config", str(tmp_path / "stage.yaml")],
        "option": ["--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1.0"],
    }[form]
    trainer = Namespace(limit_train_batches=1.0, limit_val_batches=1.0, max_epochs=2)
    keep_integers(trainer, given)
    assert [type(value) for value in (trainer.limit_train_batches, trainer.limit_val_batches)] == [int, float]
