"""Versions of limits in the order in which they were published: which of them count. Pure.

What is decided here is decided by the log alone, the same in every worker and in every replay: a version counts when
it can be read, is numbered upwards, comes into force after the one before it, and not before Kafka had it: no pane
that begins later can have been judged by then. The first may look back: it says what held before there was a topic.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from pipeline.core.limits import Limits
from schemas.signals import compact_json
from schemas.times import format_time

MARGIN = 5_000_000  # microseconds between publishing and coming into force, where nobody says from when


@dataclass(frozen=True, slots=True)
class Published:
    """A record of `limits.v1`. appended_at: when Kafka had it, microseconds."""

    version: int
    effective_from: int | None
    document: str
    appended_at: int = 0


class Refused(ValueError):  # noqa: N818 - a verdict about a document, with its reason
    """A version that does not count; the ones before it stay in force."""


def in_order(records: Iterable[Published]) -> tuple[Limits | None, list[str]]:
    """All that count, the newest with those before it; None where there is none. And why the others do not."""
    limits: Limits | None = None
    refused = []
    for record in records:
        try:
            limits = followed_by(limits, record)
        except Refused as error:
            refused.append(str(error))
    return limits, refused


def followed_by(before: Limits | None, record: Published) -> Limits:
    """The versions so far and the next one. Raises Refused."""
    name = f"version {record.version}"
    if before is not None and (same := _version(before, record.version)) is not None:
        if document_of(same) == record.document:
            return before  # two workers published it at once
        raise Refused(f"{name} is published already, with another content; give this one the next number")
    try:
        found: Any = json.loads(record.document)
        limits = Limits.model_validate(
            {**found, "version": record.version, "effective_from": record.effective_from, "before": before}
        )
    except (ValueError, TypeError, RecursionError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise Refused(f"{name} cannot be used: {said[:300]}") from error
    if before is not None and (record.effective_from or 0) < record.appended_at:
        raise Refused(
            f"{name} would come into force at {format_time(record.effective_from or 0)}, and was published at "
            f"{format_time(record.appended_at)}: what happened between is judged already; name a later moment"
        )
    return limits


def document_of(limits: Limits) -> str:
    """What one version says, without its number, its moment and the versions before it."""
    return compact_json(limits.model_dump(mode="json", include={"limits", "reads"}, exclude_unset=True))


def to_publish(limits: Limits, known: Limits | None, now: int) -> list[Published]:
    """What of a file is not in the topic yet, oldest first. Raises Refused where it cannot come into force.

    Of a file that is the first to be published only what is in force now, or later, counts. A version that says
    nothing of its moment comes into force when it is published.
    """
    chain = [limits]
    while chain[0].before is not None:
        chain.insert(0, chain[0].before)
    if known is None:
        in_force = limits.in_force(now)
        chain = [version for version in chain if (version.effective_from or 0) > now or version == in_force]
    else:
        oldest = min(version.version for version in (known, *known.earlier))
        chain = [version for version in chain if version.version >= oldest]
    out: list[Published] = []
    for version in chain:
        moment = version.effective_from
        same = _version(known, version.version) if known is not None else None
        if same is not None and moment is not None and moment != same.effective_from:
            raise Refused(
                f"version {version.version} is published with another effective_from; give it the next number"
            )
        if known is not None and same is None and moment is None:
            moment = now + MARGIN
        record = Published(version.version, moment, document_of(version), now)
        following = followed_by(known, record)
        if following is not known:
            out.append(record)
        known = following
    return out


def _version(limits: Limits, number: int) -> Limits | None:
    found: Limits | None = limits
    while found is not None and found.version != number:
        found = found.before
    return found
