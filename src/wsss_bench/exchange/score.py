"""`wsss-bench score`: scores seeds or masks on a data set by its name, as the evaluate stage does."""

from __future__ import annotations

import json

from wsss_bench.arguments import LineParser
from wsss_bench.exchange.data_set import add_data_argument, read_data_set
from wsss_bench.plan.schema import ConfigError


def main(argv: list[str]) -> int:
    """Print the scores of one split; `argv` has neither `wsss-bench` nor `score`."""
    parser = LineParser(prog="wsss-bench score", description="score seeds or masks of any origin")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--masks", help="folder of <image id>.png, or a stage with masks")
    what.add_argument("--seeds", help="folder or stage with seeds, for instance of `wsss-bench import seeds`")
    add_data_argument(parser)
    parser.add_argument(
        "--split",
        help="split to score (default: that of the data set's protocol for masks or for seeds)",
    )
    parser.add_argument("--threshold", help="background threshold of seeds, in [0, 1]")
    parser.add_argument(
        "--image-labels",
        choices=("given", "none"),
        help="whether image labels were given (default: given on the training split)",
    )
    parser.add_argument("--scales", choices=("ss", "ms"), default="ss", help="default: %(default)s")
    parser.add_argument("--post", default="raw", help="for the protocol id (default: %(default)s)")
    parser.add_argument("--out", help="stage folder to write (default: none, only print)")
    arguments = parser.parse_args(argv)
    if arguments.seeds and arguments.threshold is None:
        parser.error(
            "--seeds needs --threshold, the background threshold in [0, 1] that the method names; the best "
            "one is printed beside it"
        )
    # torch and jsonargparse, of which --help needs nothing
    from wsss_bench.stages import evaluate

    data, _ = read_data_set(arguments.data)
    protocol = data.protocol
    usual = protocol.train_split if arguments.seeds else next(iter(protocol.eval_splits), "")
    split = arguments.split or usual
    if not split:
        raise ConfigError(f"the protocol of {arguments.data} names no split to score; add --split NAME")
    training = split in (protocol.train_split, data.training_split)
    options = {
        "source": json.dumps(data.source),
        "split": split,
        "dataset": protocol.dataset,
        "image_labels": arguments.image_labels or ("given" if training else "none"),
        "scales": arguments.scales,
        "post": arguments.post,
        "count": protocol.counts.get(split),
        "masks": arguments.masks,
        "seeds": arguments.seeds,
        "threshold": arguments.threshold,
        "holdout": protocol.holdout if arguments.seeds and split == protocol.train_split else None,
        "product": "pseudo_mask" if arguments.masks and training else None,
        "out": arguments.out,
    }
    return evaluate.main([f"--{name}={value}" for name, value in options.items() if value is not None])
