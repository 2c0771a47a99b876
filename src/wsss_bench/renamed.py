"""Keys, values and class paths of YAML files and options that have new names.

An old one is refused with a message that gives the new one, both by the plan and by stages that are run by
hand. After a rename, append a line to one of the tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import yaml


class RenamedKey(NamedTuple):
    """A key that has a new name.

    Args:
        old: The key with the keys that lead to it, joined by dots. It is found below any other keys too, so
            that it is found in overrides; with `only_in` it must be the whole path.
        new: The new key, without the keys that lead to it.
        only_in: The only kind of file with this key: `experiment`, `configs/<folder>`, or the command of a
            stage.
        only_of: The only method or refiner with this key, as its class path names it; the old key is valid in
            others.
    """

    old: str
    new: str
    only_in: str = ""
    only_of: str = ""


KEYS = (
    RenamedKey("seeds", "random_seeds", only_in="experiment"),
    RenamedKey("labels", "affinity_labels", only_in="configs/refine"),
    RenamedKey("labels", "image_labels", only_in="evaluate"),
    RenamedKey("stage.label", "title"),
    RenamedKey("data.extra", "extra_images"),
    RenamedKey("source.init_args.extra", "extra_images"),
    RenamedKey("model.init_args.fixed_batch_norm", "freeze_bn"),
    RenamedKey("model.init_args.even_cosine", "cosine_threshold"),
    RenamedKey("model.init_args.joint_from", "decoder_only_steps"),
    RenamedKey("model.init_args.reading", "mask_inference"),
    RenamedKey("mask_inference.knowledge", "kp_weight"),
    RenamedKey("loss_weights.object_text", "otm"),
    RenamedKey("loss_weights.background_text", "btm"),
    RenamedKey("loss_weights.suppression", "cbs"),
    RenamedKey("loss_weights.area", "reg", only_of="clims"),
    RenamedKey("loss_weights.knowledge", "kg"),
    RenamedKey("loss_weights.highlight", "hcl"),
    RenamedKey("loss_weights.variation", "tv"),
    RenamedKey("cam.aux_until", "aux_cam_until"),
    RenamedKey("gia.bs_threshold", "bg_threshold"),
    RenamedKey("mask.agnostic", "class_agnostic"),
    RenamedKey("data.seed", "random_seed"),
    RenamedKey("refiner.init_args.from_boundaries", "keep_boundary_scores"),
    RenamedKey("refiner.init_args.decide", "no_ignore"),
    RenamedKey("refiner.init_args.foreground", "score_threshold", only_of="saliency"),
    RenamedKey("refiner.init_args.conflict", "conflict_threshold", only_of="saliency"),
    RenamedKey("refiner.init_args.attention", "background_score_limit", only_of="saliency"),
    RenamedKey("refiner.init_args.salient", "background_saliency_limit", only_of="saliency"),
    RenamedKey("refiner.init_args.smallest", "min_foreground", only_of="saliency"),
)
VALUES = {("product", "refined"): "pseudo_mask"}
"""New values, by (key, old value)."""
CLASSES = {
    "wsss_bench.affinity.affinitynet.AffinityNet": "wsss_bench.refine.walk.affinitynet.AffinityNet",
    "wsss_bench.affinity.irn.IRNRefiner": "wsss_bench.refine.walk.irn.IRNRefiner",
    "wsss_bench.affinity.irnet.IRNet": "wsss_bench.refine.walk.irnet.IRNet",
    "wsss_bench.affinity.psa.PSARefiner": "wsss_bench.refine.walk.psa.PSARefiner",
    "wsss_bench.data.sources.pool.Pool": "wsss_bench.data.sources.combined.CombinedSource",
    "wsss_bench.refine.confident.ConfidentLabels": "wsss_bench.refine.walk.affinity_labels.IRNAffinityLabels",
    "wsss_bench.refine.confident.PSALabels": "wsss_bench.refine.walk.affinity_labels.PSAAffinityLabels",
    "wsss_bench.methods.clims.CLIMS": "wsss_bench.methods.clims.improved.CLIMS",
    "wsss_bench.methods.clims_camera_ready.CLIMSCameraReady": (
        "wsss_bench.methods.clims.camera_ready.CLIMSCameraReady"
    ),
    "wsss_bench.methods.codecomp.CoDe": "wsss_bench.methods.text_grounding.codecomp.CoDe",
    "wsss_bench.methods.dalnet.DALNet": "wsss_bench.methods.single_stage.dalnet.DALNet",
    "wsss_bench.methods.mcis.MCIS": "wsss_bench.methods.mcis.mcis.MCIS",
    "wsss_bench.methods.mcis_group.MCISGroup": "wsss_bench.methods.mcis.group.MCISGroup",
    "wsss_bench.methods.tcl.TCL": "wsss_bench.methods.text_grounding.tcl.TCL",
    "wsss_bench.methods.toco.ToCo": "wsss_bench.methods.single_stage.toco.ToCo",
}
"""New class paths, by old class path."""

_MEASURED = "a published result now says `rule`, `refiner` or `readout` (docs/protocol.md); use these"
GONE = {
    "inference.output_stride": "networks say themselves how their maps lie on the image; remove it",
    "bench.paper.scales": _MEASURED,
    "bench.paper.post": _MEASURED,
}
"""Keys without a successor, and what to do instead."""


def find_renamed(content: Any, kind: str = "") -> str | None:
    """The first old name in the content of a YAML file, with its new name, in words; None if there is none.

    Args:
        content: What the file holds.
        kind: Kind of file, as in `RenamedKey.only_in`.
    """
    for path, value in _items(content):
        place = ".".join(path)
        key = path[-1].partition("[")[0] if path else ""
        bare = ".".join(part.partition("[")[0] for part in path)
        for gone, advice in GONE.items():
            if bare == gone or bare.endswith(f".{gone}"):
                return f"{place}: this key is gone: {advice}"
        for renamed in KEYS:
            found = place == renamed.old or (not renamed.only_in and place.endswith(f".{renamed.old}"))
            if found and renamed.only_of and not _is_of(renamed.only_of, content, path):
                continue
            if found and renamed.only_in in ("", kind):
                return f"{place}: this key is now {renamed.new!r}; rename it"
        if isinstance(value, str):
            if (key, value) in VALUES:
                return f"{place}: the value {value!r} is now {VALUES[key, value]!r}; replace it"
            if value in CLASSES:
                return f"{place}: the class {value} is now {CLASSES[value]}; replace it"
    return None


def refuse_renamed(given: Sequence[str] | dict[str, Any], command: str = "") -> None:
    """Refuse old names in the configuration of a stage.

    Args:
        given: The content of a configuration file, or a command line with its YAML files.
        command: The command of the stage.

    Raises:
        ValueError: with the new name.
    """
    for place, content in given_contents(given):
        message = find_renamed(content, command)
        if message is not None:
            raise ValueError(f"{place}{message}")


def given_contents(given: Sequence[str] | dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a configuration or each option of a command line holds, with the start of a message about it."""
    if isinstance(given, dict):
        yield "", given
        return
    for option, value in _options(given):
        content = _read(value)
        if option == "config":
            yield f"{value}: ", content
            continue
        for key in reversed(option.split(".")):
            content = {key: content}
        yield "--", content


def _is_of(owner: str, content: Any, path: tuple[str, ...]) -> bool:
    """Whether the keys that lead to a value, or a `class_path` or `method` beside one, name the owner."""
    names = list(path)
    for key in path:
        if not isinstance(content, dict):
            break
        names += [str(content.get(name, "")) for name in ("class_path", "method")]
        content = content.get(key)
    short = (owner, f"{owner}refiner")  # names of classes without their path, in any capitalisation
    return any(name.casefold() in short or f".{owner}." in name for name in names)


def _items(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All values of nested mappings and lists with their keys, outer ones first."""
    if path:
        yield path, content
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _items(value, (*path, str(key)))
    elif isinstance(content, list):
        for index, value in enumerate(content):
            last = f"{path[-1] if path else ''}[{index}]"
            yield from _items(value, (*path[:-1], last))


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The options of a command line, without dashes, and their values."""
    for word, following in pairwise([*words, ""]):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            yield name.removesuffix("+"), value if equals else following


def _read(value: str) -> Any:
    """The value of an option: the content of the YAML file that it names, or what it says as YAML.

    What cannot be read is left to the parser of the stage, which then explains why.
    """
    try:
        is_file = value.endswith((".yaml", ".yml"))
        return yaml.safe_load(Path(value).read_text() if is_file else value)
    except (OSError, ValueError, yaml.YAMLError):
        return value
