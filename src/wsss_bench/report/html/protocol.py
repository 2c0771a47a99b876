"""The protocol of a data set in words."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict

from wsss_bench.crf.densecrf import CRFConfig
from wsss_bench.plan.config import Protocol


def protocol_in_words(protocol: Protocol, segmenter: str | None, products: Collection[str]) -> list[str]:
    """Sentences about what was scored on a data set, and how.

    Args:
        protocol: Its protocol.
        segmenter: The segmenter of multi-stage methods, as the plan describes it.
        products: What the experiment scores: `seed`, `pseudo_mask`, `segmentation`.
    """
    train, counts = protocol.train_split, protocol.counts
    sentences = []
    if train and set(products) & {"seed", "pseudo_mask"}:
        sentences.append(
            f"Seeds and pseudo masks are made of the {counts.get(train, '?')} images of {train}, with their "
            "image labels given. Seeds are read with the fixed threshold of the method, which ranks"
            + (
                f"; with one that is chosen on {protocol.holdout} images, which are left out of its score "
                "(held-out); and with the best one on the scored images (oracle), an upper bound."
                if protocol.holdout
                else ", and with the best one on the scored images (oracle), an upper bound."
            )
        )
    if "segmentation" in products:
        splits = " and ".join(f"{split} ({counts.get(split, '?')} images)" for split in protocol.eval_splits)
        scales = ", ".join(f"{scale:g}" for scale in protocol.scales)
        sentences.append(
            f"Segmentations are predicted without image labels on {splits}, and read out four times: single "
            f"scale (ss), and scales {scales} with mirror images (ms), each raw and after DenseCRF (crf). "
            f"Methods are ranked by ss raw on {protocol.eval_splits[0]}."
        )
        if protocol.ss_raw_only:
            sentences.append(f"Read out by ss raw only: {', '.join(protocol.ss_raw_only)}.")
        setting = ", ".join(f"{key} {value:g}" for key, value in asdict(CRFConfig(**protocol.crf)).items())
        sentences.append(f"The DenseCRF of segmentations has one setting for all methods: {setting}.")
    if segmenter:
        sentences.append(f"Multi-stage methods are segmented by one network: {segmenter}.")
    if protocol.unscored:
        sentences.append(f"Without masks, so without scores: {', '.join(protocol.unscored)}.")
    return sentences
