"""The check that each trainable parameter is trained."""

from __future__ import annotations

from collections.abc import Sequence

from wsss_bench.contract.outcome import Failure
from wsss_bench.contract.subject import Subject, total, train
from wsss_bench.methods.base import Method

SHOWN = 5


def a_step_reaches_every_trainable_parameter(subject: Subject) -> None:
    """Every trainable parameter is in a group of the optimiser and gets a gradient.

    At the first step those may have none that `idle_at_first` names; at the end of a training, all have one.
    """
    method = subject.fresh()
    _require_groups(method)
    idle = _idle(method, subject)
    unmarked = [name for name in idle if not name.startswith(subject.kind.idle_at_first)]
    if unmarked:
        raise Failure(
            f"no loss reaches {_listed(unmarked)} at the first step; use it in a loss, set requires_grad to "
            f"False, or name its beginning in {subject.kind.__name__}.idle_at_first if its term starts later"
        )
    if idle:
        method = subject.fresh(late=True)
        train(method, subject.batch, 1)  # opens gates that are 0 before training
        never = _idle(method, subject)
        if never:
            raise Failure(
                f"no loss reaches {_listed(never)} at the end of a training either, though idle_at_first "
                "names it; use it in a loss or set requires_grad to False"
            )
    unused = [
        prefix for prefix in subject.kind.idle_at_first
        if not any(name.startswith(prefix) for name, _ in method.named_parameters())
    ]  # fmt: skip
    if unused:
        raise Failure(f"idle_at_first names {_listed(unused)}, but no parameter begins so; remove it")


def _require_groups(method: Method) -> None:
    names = {id(p): name for name, p in method.named_parameters() if p.requires_grad}
    listed = [id(p) for group in method.parameter_groups() for p in group["params"] if p.requires_grad]
    if lacking := [name for key, name in names.items() if key not in listed]:
        raise Failure(
            f"parameter_groups leaves out {_listed(lacking)}, which would not be trained; add it to a group"
        )
    if twice := [names[key] for key in names if listed.count(key) > 1]:
        raise Failure(f"parameter_groups names {_listed(twice)} twice; keep one")


def _idle(method: Method, subject: Subject) -> list[str]:
    """Trainable parameters without a gradient after one step's backward pass."""
    method.train()
    method.zero_grad()
    total(method.training_loss(subject.batch)).backward()
    method.on_after_backward()
    return [
        name for name, p in method.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.any())
    ]  # fmt: skip


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
