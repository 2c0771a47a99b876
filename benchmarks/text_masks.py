"""Accuracy of the text segmenter of a trained CoDe on captions: `python benchmarks/text_masks.py STAGE`.

Some nouns are drawn from each caption. Two shares are printed: of the tokens of drawn nouns, those assigned
to their noun; of the tokens of the other nouns, those assigned to no noun. Captions come from a split that
was not trained on; images are not read.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "disabled")

import torch

from wsss_bench.artifacts.layout import LAST
from wsss_bench.methods.text_grounding.codecomp import CoDe
from wsss_bench.nn.clip_text import embed_tokens, text_hidden_states, tokenize
from wsss_bench.plan.reader import read_configs
from wsss_bench.stages.fit import FitCLI
from wsss_bench.types import CaptionBatch

AT_ONCE = 256  # captions
CONFIGS = Path(__file__).parents[1] / "configs"


class WordCounts(NamedTuple):
    """Numbers of tokens of drawn and of other nouns, and how many were assigned correctly."""

    drawn: int
    drawn_found: int
    others: int
    others_found: int


@torch.no_grad()
def word_counts(method: CoDe, ids: Sequence[str], captions: Sequence[str]) -> WordCounts:
    """Count the tokens of nouns; captions with too few nouns are left out.

    Args:
        method: Trained CoDe.
        ids: Image ids; with the random seed, they decide which nouns are drawn.
        captions: One for each id.
    """
    samples = method._samples(CaptionBatch(list(ids), torch.empty(0), list(captions), torch.empty(0)))
    count, clip = method.nouns_per_caption, method.grounding.clip
    tokens = tokenize(clip, [sample.caption for sample in samples])
    nouns = method.noun_prompt(clip, [sample.drawn[k] for k in range(count) for sample in samples])
    states = text_hidden_states(clip, embed_tokens(clip, tokens.ids))
    logits = method.text_segmenter(states, nouns.unflatten(0, (count, len(samples))))  # (B, N + 1, L)
    labels = method._token_labels(samples, tokens)  # (B, L)
    found = logits.argmax(dim=1) == labels
    return WordCounts(
        *(int(part.sum()) for of in (labels > 0, labels == 0) for part in (of, found & of)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", type=Path, help="folder of a train stage of CoDe")
    parser.add_argument(
        "--data", default="mini", help="name in configs/data of the data set whose captions are read"
    )
    parser.add_argument("--split", default="val", help="split of that data set")
    options = parser.parse_args()
    torch.set_num_threads(1)
    captions = read_configs(CONFIGS).data(options.data).source
    cli = FitCLI(["--config", str(options.stage / "config.yaml"), f"--data.source={json.dumps(captions)}"])
    method = cli.model.eval()
    if not isinstance(method, CoDe):
        raise SystemExit(f"{options.stage} trained {type(method).__name__}; give a train stage of CoDe")
    checkpoint = torch.load(options.stage / LAST, weights_only=True)
    method.load_state_dict(checkpoint["state_dict"])
    source = cli.datamodule.source
    pairs = [
        (f"{name}/{number}", caption)
        for name in source.ids(options.split)
        for number, caption in enumerate(source.captions(name))
    ]
    parts = [
        word_counts(method, *zip(*pairs[start : start + AT_ONCE], strict=True))
        for start in range(0, len(pairs), AT_ONCE)
    ]
    total = WordCounts(*map(sum, zip(*parts, strict=True)))
    print(f"{method._used} of {len(pairs)} captions of {options.split} have enough nouns")
    print(f"drawn nouns: {total.drawn_found} of {total.drawn} tokens ({total.drawn_found / total.drawn:.4f})")
    print(
        f"other nouns: {total.others_found} of {total.others} tokens "
        f"({total.others_found / max(1, total.others):.4f})"
    )


if __name__ == "__main__":
    main()
