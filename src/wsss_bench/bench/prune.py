"""`wsss-bench prune experiments/mini.yaml`: removes files that a finished matrix no longer needs.

These are seeds, pseudo masks, probabilities and predicted masks whose every reader is complete. Checkpoints,
scores, pictures, logs and costs stay, and the stages count as complete: `bench` and `table` give the same
table. A later stage that reads removed files has them made again from the checkpoints.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from wsss_bench.arguments import LineParser, add_matrix_arguments
from wsss_bench.artifacts.files import is_complete
from wsss_bench.artifacts.layout import MASKS, PROBABILITIES, READ, SEEDS, shortened
from wsss_bench.artifacts.locks import Locks, locked
from wsss_bench.artifacts.pruning import FOLDERS, files_and_bytes, prune_stage
from wsss_bench.bench.data_digests import look_at_data
from wsss_bench.plan.plan import Plan, Stage
from wsss_bench.plan.plan_record import read_by_others
from wsss_bench.plan.planner import make_plan
from wsss_bench.plan.state import states_of

WORDS = {
    ("seed", SEEDS): "seeds",
    ("refine", MASKS): "pseudo-masks",
    ("predict", PROBABILITIES): "probabilities",
    ("predict", MASKS): "predictions",
    ("crf", MASKS): "predictions",
}
"""What is removed, by kind of the stage and folder."""
KINDS = tuple(dict.fromkeys(WORDS.values()))


def main(argv: list[str]) -> int:
    """Remove what a finished matrix no longer needs, or say what that is."""
    parser = LineParser(
        prog="wsss-bench prune",
        description="Remove seeds, masks and probabilities that a finished matrix no longer needs.",
    )
    add_matrix_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    parser.add_argument(
        "--keep",
        action="append",
        default=[],
        choices=KINDS,
        help="leave these where they are (may be given several times)",
    )
    options = parser.parse_args(argv)
    plan = make_plan(options.experiment, options.runs, options.configs, options.methods, options.set)
    plan = look_at_data(plan, options.runs, record=False)
    prune(plan, options.runs, options.keep, options.dry_run)
    return 0


def prune(plan: Plan, runs: Path, keep: list[str], dry_run: bool) -> None:
    """Remove files of the stages of a plan, and print how many by kind.

    Args:
        plan: The plan.
        runs: Folder of all results. Stages that another process works in are left alone.
        keep: Kinds, in the words of `WORDS`, that stay.
        dry_run: Only print.

    Raises:
        LockHeld: another process has just begun to work in a stage.
    """
    states = states_of(plan)
    complete = {key for key, state in states.items() if state.progress == "complete"}
    with_files = [
        (stage, folder)
        for key, stage in plan.stages.items()
        for folder in FOLDERS.get(stage.kind, ())
        if key in complete and (stage.path / folder).is_dir()
    ]
    elsewhere = read_by_others(plan, runs)
    unread = [
        (stage, folder)
        for stage, folder in with_files
        if (readers := list(readers_of(plan, stage, folder))) and complete.issuperset(readers)
    ]
    wanted = [
        (stage, folder)
        for stage, folder in unread
        if WORDS[stage.kind, folder] not in keep and stage.path.name not in elsewhere
    ]
    locks = Locks("prune")
    chosen = [(stage, folder) for stage, folder in wanted if locks.holder_of(stage.path) is None]
    print(f"{'would remove' if dry_run else 'removing'} in {runs}/stages, for {plan.experiment}:")
    total_files = total_bytes = 0
    for word in KINDS:
        found = [(stage, folder) for stage, folder in chosen if WORDS[stage.kind, folder] == word]
        sizes = [files_and_bytes(stage.path / folder) for stage, folder in found]
        files, size = sum(files for files, _ in sizes), sum(size for _, size in sizes)
        total_files, total_bytes = total_files + files, total_bytes + size
        print(f"  {word:<14}{len(found):>5} stages {files:>9} files {size / 1e6:>11.1f} MB", flush=True)
        for stage, folder in [] if dry_run else found:
            with locked(stage.path, "prune"):
                if is_complete(stage.path):
                    prune_stage(stage.path, folder)
    stages_of_all = len({stage.fingerprint for stage, _ in chosen})
    print(f"  {'together':<14}{stages_of_all:>5} stages {total_files:>9} files {total_bytes / 1e6:>11.1f} MB")
    still_read = [stage.name for stage, folder in with_files if (stage, folder) not in unread]
    at_work = [stage.name for stage, folder in wanted if (stage, folder) not in chosen]
    for reason, names in (
        ("what reads them is not complete", still_read),
        ("other experiments read them", [stage.name for stage, _ in unread if stage.path.name in elsewhere]),
        ("another process works in them", at_work),
    ):
        if names:
            print(f"kept, since {reason}: {shortened(list(dict.fromkeys(names)))}")


def folders_named(kind: str, words: Collection[str]) -> list[str]:
    """The folders of a kind of stages that `WORDS` calls so."""
    return [folder for folder in FOLDERS.get(kind, ()) if WORDS[kind, folder] in words]


def readers_of(plan: Plan, stage: Stage, folder: str) -> Iterator[str]:
    """Fingerprints of the stages that read a folder of a stage."""
    return (
        key
        for key, other in plan.stages.items()
        for role, parent in other.inputs.items()
        if parent == stage.fingerprint and READ.get(role) == folder
    )
