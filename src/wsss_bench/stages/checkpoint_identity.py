"""A checkpoint says which stage it belongs to, so that a training never goes on from another one's."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from wsss_bench.artifacts.identity import Identity, describe_stages

KEY = "stage"
"""Where a checkpoint holds the identity of its stage."""


class CheckpointIdentity(Callback):
    """Writes the identity of the stage into its checkpoints, and refuses to resume from those of another one.

    Args:
        identity: Identity of the stage that is trained.
    """

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint[KEY] = self.identity

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Compare a checkpoint that the training would go on from.

        Raises:
            ValueError: it was written by another stage; the message names what differs.
        """
        written = checkpoint.get(KEY)
        if written != self.identity:
            what = (
                "does not say which stage it belongs to"
                if written is None
                else f"belongs to another stage: {describe_stages(written, self.identity, 'there', 'here')}"
            )
            raise ValueError(
                f"the training cannot go on from {trainer.ckpt_path}, because it {what}. Delete it to train "
                "from the beginning, or restore the checkpoint of this stage"
            )
