"""Where experiments and configurations are found: own files first, the shipped ones behind them."""

from __future__ import annotations

import difflib
from pathlib import Path

from wsss_bench.plan.schema import ConfigError, nearest
from wsss_bench.shipped import CONFIGS, EXPERIMENTS, PACKAGE


def find_experiment(name: Path) -> Path:
    """The file of an experiment.

    Args:
        name: Its path; or its name, with or without `.yaml` and `experiments/`, which is searched in the
            working directory, in the folder `experiments` there, and among the shipped experiments.

    Raises:
        ConfigError: there is no such experiment.
    """
    if name.is_file():
        return name
    file = _with_suffix(name)
    bare = Path(*file.parts[1:]) if file.parts[:1] == (EXPERIMENTS.name,) else file
    for path in (file, Path(EXPERIMENTS.name, bare), EXPERIMENTS / bare):
        if path.is_file():
            return path
    if name.is_dir():
        raise ConfigError(f"{name} is a folder; give the YAML file of an experiment, or its name")
    own, shipped = _names(Path(EXPERIMENTS.name)), _names(EXPERIMENTS)
    close = difflib.get_close_matches(bare.with_suffix("").as_posix(), [*own, *shipped], n=1)
    raise ConfigError(
        f"there is no experiment {str(name)!r}; {f'did you mean {close[0]!r}? ' if close else ''}"
        f"shipped: {', '.join(shipped)}; own, in {Path.cwd() / EXPERIMENTS.name}: {', '.join(own) or 'none'}"
    )


def hides_shipped(name: Path, file: Path) -> bool:
    """Whether an own `file` was found by a name that a shipped experiment has too."""
    is_own = EXPERIMENTS not in file.resolve().parents
    return name != file and is_own and (EXPERIMENTS / _with_suffix(name)).is_file()


def config_folders(experiment: Path, given: Path | None = None) -> list[Path]:
    """The folders of configurations, the first one winning.

    Args:
        experiment: The experiment's file.
        given: The own folder. By default the nearest folder `configs` above the experiment; for a shipped
            experiment, and where there is none, the one in the working directory, which need not exist.

    Returns:
        The own folder and the shipped one, or one folder if they are the same.

    Raises:
        ConfigError: `given` is no folder, or has no configuration.
    """
    own = given if given is not None else _own_folder(experiment)
    if given is not None and not list_configs(given):
        raise ConfigError(
            f"{given} {'has no configurations' if given.is_dir() else 'is no folder'}; name one with files "
            "such as methods/<name>.yaml or data/<name>.yaml, or leave it out to read the shipped ones only"
        )
    return [CONFIGS] if own.resolve() == CONFIGS else [own, CONFIGS]


def find_config(kind: str, name: Path) -> Path:
    """The file that a path, or the name of an own or a shipped configuration, stands for.

    Args:
        kind: Subfolder of `configs`.
        name: A path, which is returned as it is; or a name, searched in the folder `configs` of the working
            directory and in the shipped one.
    """
    if name.exists() or name.suffix == ".yaml" or len(name.parts) != 1:
        return name
    known = {
        path.stem: path
        for folder in (CONFIGS, Path(CONFIGS.name))
        for path in sorted((folder / kind).glob("*.yaml"))
        if "." not in path.stem  # no overlays
    }
    if str(name) not in known:
        raise ConfigError(f"there is no {kind}/{name}.yaml; {nearest(str(name), sorted(known))}")
    return known[str(name)]


def list_configs(folder: Path) -> dict[str, Path]:
    """The YAML files of a folder by their path below it: `methods/cam.yaml`."""
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.glob("*/*.yaml"))}


def python_file(method: str, own: Path) -> Path | None:
    """The Python file of a method that has no YAML file, if there is one.

    Args:
        method: Name of the method.
        own: The own folder of configurations.
    """
    for folder in (Path(), own.parent, PACKAGE / "methods"):
        for file in (folder / f"{method}.py", folder / method / "__init__.py"):
            if file.is_file():
                return file
    return None


def _with_suffix(name: Path) -> Path:
    return name if name.suffix == ".yaml" else Path(f"{name}.yaml")


def _own_folder(experiment: Path) -> Path:
    above = experiment.resolve().parents
    if EXPERIMENTS not in above:
        for parent in above:
            if (parent / CONFIGS.name).is_dir():
                return parent / CONFIGS.name
    return Path.cwd() / CONFIGS.name


def _names(folder: Path) -> list[str]:
    """Names of the experiments in a folder; none of the shipped folder if that is not `folder` itself."""
    if folder != EXPERIMENTS and folder.resolve() == EXPERIMENTS:
        return []
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))
