"""Which published versions of limits count, and what of a file is published."""

from typing import Any

import pytest

from pipeline.core.limit_versions import MARGIN, Published, Refused, document_of, followed_by, in_order, to_publish
from pipeline.core.limits import Limits
from tests.builders import T0, at

FIRST = '{"limits":[{"max_steps":60}]}'
SECOND = '{"limits":[{"max_steps":30}]}'


def limits(version: int, steps: int, effective_from: int | None = None, before: Limits | None = None) -> Limits:
    fields: dict[str, Any] = {"version": version, "effective_from": effective_from, "before": before}
    return Limits.model_validate({**fields, "limits": [{"max_steps": steps}]})


def steps(found: Limits | None, moment: int) -> Any:
    assert found is not None
    return found.in_force(moment).value("max_steps", "acme", "agent-1")


def test_versions_follow_each_other_in_event_time() -> None:
    found, refused = in_order(
        [Published(1, None, FIRST, at(0)), Published(2, at(60), SECOND, at(50)), Published(3, at(90), FIRST, at(61))]
    )
    assert refused == []
    assert [steps(found, at(second)) for second in (-(10**6), 59, 60, 89, 90)] == [60, 60, 30, 30, 60]


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (Published(2, at(60), SECOND, at(60) + 1), "what happened between is judged already"),
        (Published(2, None, SECOND, at(0)), "effective_from"),
        (Published(0, at(60), SECOND, at(0)), "number versions upwards"),
        (Published(1, at(60), SECOND, at(0)), "published already, with another content"),
        (Published(2, at(60), "{", at(0)), "cannot be used"),
        (Published(2, at(60), "[]", at(0)), "cannot be used"),
        (Published(2, at(60), '{"limits":[{"max_stepz":1}]}', at(0)), "cannot be used"),
    ],
)
def test_what_does_not_count_leaves_the_older_in_force(record: Published, says: str) -> None:
    found, refused = in_order([Published(1, None, FIRST, at(0)), record])
    assert steps(found, at(1000)) == 60
    assert len(refused) == 1
    assert says in refused[0]


def test_at_the_moment_it_was_appended_is_early_enough() -> None:
    first = followed_by(None, Published(1, None, FIRST, at(0)))
    assert followed_by(first, Published(2, at(60), SECOND, at(60))).version == 2


def test_the_same_version_published_by_two_workers_counts_once() -> None:
    first = followed_by(None, Published(1, None, FIRST, at(0)))
    assert followed_by(first, Published(1, None, FIRST, at(1))) is first


def test_of_a_file_only_what_is_new_is_published() -> None:
    file = limits(2, 30, at(60), before=limits(1, 60))
    first = to_publish(file, None, at(0))
    assert [(record.version, record.effective_from) for record in first] == [(1, None), (2, at(60))]
    known, _ = in_order(first)
    assert to_publish(file, known, at(3600)) == []
    third = limits(3, 10, at(7200), before=file)
    assert [record.version for record in to_publish(third, known, at(3600))] == [3]
    with pytest.raises(Refused, match="judged already"):
        to_publish(third, known, at(7201))
    with pytest.raises(Refused, match="another effective_from"):
        to_publish(limits(2, 30, at(61), before=limits(1, 60)), known, at(0))


def test_what_is_over_is_not_published_first() -> None:
    file = limits(2, 30, at(60), before=limits(1, 60))
    assert [record.version for record in to_publish(file, None, at(60))] == [2]
    known, _ = in_order(to_publish(file, None, at(60)))
    assert to_publish(file, known, at(90)) == []


def test_a_version_without_a_moment_comes_into_force_as_it_is_published() -> None:
    known, _ = in_order(to_publish(limits(1, 60), None, T0))
    [record] = to_publish(limits(2, 30), known, at(10))
    assert record.effective_from == at(10) + MARGIN
    known = followed_by(known, record)
    assert to_publish(limits(2, 30), known, at(500)) == []


def test_a_document_says_only_what_the_file_said() -> None:
    assert document_of(limits(7, 30, at(5))) == SECOND
