"""Short names of the classes that configurations name: `CAM` for `wsss_bench.methods.cam.CAM`.

Plans and stages turn a short name into the full path as they read it, so that fingerprints, identities, code
digests and messages have full paths only. jsonargparse has short names of its own, which depend on what
happens to be imported; it never sees those of this table.

A new class of this package is found by its full path. One line here gives it a short name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

METHODS = (
    "wsss_bench.methods.cam.CAM",
    "wsss_bench.methods.clims.camera_ready.CLIMSCameraReady",
    "wsss_bench.methods.clims.improved.CLIMS",
    "wsss_bench.methods.clip_es.CLIPES",
    "wsss_bench.methods.clip_zeroshot.CLIPSeeds",
    "wsss_bench.methods.clip_zeroshot.CLIPZeroShot",
    "wsss_bench.methods.excel.excel.ExCEL",
    "wsss_bench.methods.excel.training_free.ExCELStatic",
    "wsss_bench.methods.mcis.group.MCISGroup",
    "wsss_bench.methods.mcis.mcis.MCIS",
    "wsss_bench.methods.single_stage.dalnet.DALNet",
    "wsss_bench.methods.single_stage.toco.ToCo",
    "wsss_bench.methods.supervised.Supervised",
    "wsss_bench.methods.text_grounding.codecomp.CoDe",
    "wsss_bench.methods.text_grounding.tcl.TCL",
    "wsss_bench.methods.weclip.WeCLIP",
)
SEGMENTERS = (
    "wsss_bench.segmenters.deeplabv2.DeepLabV2",
    "wsss_bench.segmenters.largefov.DeepLabLargeFOV",
)
REFINERS = (
    "wsss_bench.refine.confident_crf.ConfidentCRFRefiner",
    "wsss_bench.refine.densecrf.DenseCRFRefiner",
    "wsss_bench.refine.pamr.PAMRRefiner",
    "wsss_bench.refine.saliency.SaliencyRefiner",
    "wsss_bench.refine.threshold.ThresholdRefiner",
    "wsss_bench.refine.walk.affinity_labels.IRNAffinityLabels",
    "wsss_bench.refine.walk.affinity_labels.PSAAffinityLabels",
    "wsss_bench.refine.walk.irn.IRNRefiner",
    "wsss_bench.refine.walk.psa.PSARefiner",
)
NETWORKS = (
    "wsss_bench.refine.walk.affinitynet.AffinityNet",
    "wsss_bench.refine.walk.irnet.IRNet",
)
"""Networks of refiners."""
SOURCES = (
    "wsss_bench.data.sources.captions.CaptionTable",
    "wsss_bench.data.sources.coco.COCO",
    "wsss_bench.data.sources.combined.CombinedSource",
    "wsss_bench.data.sources.context.PascalContext",
    "wsss_bench.data.sources.folder.Folder",
    "wsss_bench.data.sources.openvocab.ADE20K",
    "wsss_bench.data.sources.openvocab.COCOObject",
    "wsss_bench.data.sources.openvocab.COCOStuff",
    "wsss_bench.data.sources.openvocab.CamVid",
    "wsss_bench.data.sources.openvocab.Cityscapes",
    "wsss_bench.data.sources.voc.VOC",
    "wsss_bench.data.sources.webdataset.WebDataset",
)
BASES = {
    "wsss_bench.methods": "wsss_bench.methods.base.Method",
    "wsss_bench.segmenters": "wsss_bench.segmenters.base.Segmenter",
    "wsss_bench.refine": "wsss_bench.refine.base.Refiner",
    "wsss_bench.data.sources": "wsss_bench.data.sources.base.Source",
}
"""The interface that the classes of a package have, by package."""
KINDS = {
    "model": (*METHODS, *SEGMENTERS, *NETWORKS),
    "refiner": REFINERS,
    "affinity_labels": REFINERS,
    "source": SOURCES,
    "main": SOURCES,
}
"""The classes that have a short name below a key, by the key."""
SUFFIX = "Refiner"
"""End of the names of refiners, which may be left out: `IRN` for `IRNRefiner`."""
OPAQUE = ("model", "refiner", "affinity_labels")
"""Keys whose `init_args` belong to the class, with classes of its own."""
WHOLE = (("model",), ("refiner",), ("source",), ("data", "source"))
"""Where a name may stand without `class_path`."""


def with_full_paths(content: Any, place: str = "", path: tuple[str, ...] = ()) -> Any:
    """A configuration with full class paths in the place of short names.

    Args:
        content: What a YAML file or an option holds; it is not changed.
        place: Start of a message, such as `file.yaml: `.
        path: The keys that lead to the content.

    Raises:
        ValueError: a class that has neither a short name nor a path; the message has its key.

    Examples:
        >>> with_full_paths({"model": {"class_path": "CAM"}, "source": "my_data.Leaves"})
        {'model': {'class_path': 'wsss_bench.methods.cam.CAM'}, 'source': 'my_data.Leaves'}
    """
    parent, key = ("", "", *path)[-2:]
    if isinstance(content, dict):
        if key == "trainer" or (parent in OPAQUE and key == "init_args"):
            return content
        return {name: with_full_paths(value, place, (*path, str(name))) for name, value in content.items()}
    if isinstance(content, list):
        return [with_full_paths(value, place, path) for value in content]
    kind = parent if key == "class_path" else key if path in WHOLE else ""
    if isinstance(content, str) and kind in KINDS:
        return full_path(content, KINDS[kind], place + ".".join(path))
    return content


def full_path(name: str, paths: Sequence[str], place: str) -> str:
    """The full path of a class.

    Args:
        name: Its short name; or `wsss_bench.methods.CAM`, as it is imported; or a path, which is returned.
        paths: The classes with a short name.
        place: Where the name stands, for the message.

    Raises:
        ValueError: a name without a dot that is none of these.
    """
    known = {short: path for path in paths for short in names_of(path)}
    if name in known:
        return known[name]
    if name.isidentifier():
        shown = sorted({path.rpartition(".")[2] for path in paths})
        folded = {short.casefold(): short for short in known}
        close = get_close_matches(name.casefold(), folded, n=1)
        hint = f"did you mean {folded[close[0]]!r}? " if close else ""
        raise ValueError(
            f"{place}: there is no class {name!r}; {hint}Known: {', '.join(shown)}; "
            "name any other class with its module, as in my_module.MyClass"
        )
    return name


def in_arguments(words: Sequence[str]) -> list[str]:
    """A command line with full class paths, in its options and in the YAML files of `--config`.

    A file with short names is replaced by its content.

    Raises:
        ValueError: as in `with_full_paths`, with the file or the option.
    """
    full = list(words)
    for at, word in enumerate(words):
        option, equals, value = word.partition("=")
        if not option.startswith("--") or (not equals and at + 1 == len(words)):
            continue
        value = value if equals else words[at + 1]
        path = () if option == "--config" else tuple(option[2:].split("."))
        content = _read(value, is_file=not path)
        resolved = with_full_paths(content, "--" if path else f"{value}: ", path)
        if resolved != content:
            text = resolved if isinstance(resolved, str) else _dump(resolved)
            full[at if equals else at + 1] = f"{option}={text}" if equals else text
    return full


def lazy_classes(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package, whose classes are imported when they are used.

    Args:
        package: `__name__` of the package.
    """
    everything = (*METHODS, *SEGMENTERS, *REFINERS, *NETWORKS, *SOURCES)
    paths = [BASES[package], *(path for path in everything if path.startswith(f"{package}."))]
    classes = {path.rpartition(".")[2]: path.rpartition(".")[0] for path in paths}

    def get(name: str) -> Any:
        if name not in classes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(classes[name]), name)

    return get, lambda: sorted(classes), sorted(classes)


def names_of(path: str) -> list[str]:
    """What a class may be called: its name, that without the suffix of refiners, its name in its package.

    A class that has no short name has none of these.

    Examples:
        >>> names_of("wsss_bench.refine.walk.irn.IRNRefiner")
        ['IRNRefiner', 'IRN', 'wsss_bench.refine.IRNRefiner']
    """
    package = next((package for package in BASES if path.startswith(f"{package}.")), None)
    if package is None or not any(path in paths for paths in KINDS.values()):
        return []
    name = path.rpartition(".")[2]
    return [name, name.removesuffix(SUFFIX), f"{package}.{name}"]


def _read(value: str, is_file: bool) -> Any:
    """The content of a YAML file, or what an option says as YAML; the stage explains what cannot be read."""
    try:
        return yaml.safe_load(Path(value).read_text(encoding="utf-8") if is_file else value)
    except (OSError, ValueError, yaml.YAMLError):
        return value


def _dump(content: Any) -> str:
    """YAML in one line. `1e-4`, text to this parser and a number to that of stages, stays as it is."""
    return yaml.safe_dump(content, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**9)
