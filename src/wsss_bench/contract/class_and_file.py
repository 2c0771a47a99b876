"""The check that the YAML file of a method and its class say the same."""

from __future__ import annotations

from dataclasses import asdict

from wsss_bench.contract.outcome import Failure
from wsss_bench.contract.subject import Subject
from wsss_bench.stages.claims import check_claims


def the_file_states_what_the_class_is(subject: Subject) -> None:
    """Supervision, pipeline, threshold, training and data view of the file are those of the class."""
    bench = asdict(subject.content.bench)
    try:
        check_claims(subject.kind, bench, subject.data.view, subject.name)
    except ValueError as error:
        raise Failure(str(error)) from error
