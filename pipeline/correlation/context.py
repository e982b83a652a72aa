"""What an agent did not know when it acted, and at which step of its session the context dropped out.

For an action, *knowable* is what held at its decision, had been published before it, and is in a scope that the target
belongs to or depends on (facts.py); *observed* is what the session had read. The gap is knowable minus observed, each
with its class. Where the reads cannot tell, it says so: that is never called a gap.
"""

import re
from dataclasses import dataclass
from typing import Any

import orjson

from pipeline.core.limits import Limits
from pipeline.core.limits import Read as ReadEntry
from pipeline.correlation.facts import Ledger
from pipeline.correlation.topology import Topology
from schemas.incidents import ContextGap, GapClass
from schemas.resources import name_of
from schemas.signals import Action, Fact
from schemas.times import format_time

GAPS: tuple[GapClass, ...] = ("never_queried", "stale_read", "read_failed", "dropped", "seen_not_used")
WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
PLAIN_WORDS = frozenset({"service", "api", "server", "system", "store", "provider", "manager"})
RUN_ANYTHING = frozenset({"bash", "shell", "sh", "terminal", "exec", "python", "curl", "http", "browser", "url"})
Read = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """The class of one fact for one action; the step where the context dropped out; when the session read it last."""

    class_: GapClass
    step: str
    span_id: str
    read_at: int | None = None


def context_gaps(action: Action, ledger: Ledger, topology: Topology, limits: Limits) -> tuple[ContextGap, ...]:
    """What the session did not know when it decided on this action; classes of DESIGN section 5."""
    if action.target is None:
        return ()
    reads: list[Read] = orjson.loads(action.observed)
    mapped = [(read, _entries(read, action, limits)) for read in reads]
    declared = {item["event_id"]: item["read_at"] for item in orjson.loads(action.context_facts)}
    gaps = []
    for fact in ledger.about(action.target, action.start_time, topology):
        found = classify(fact, action, mapped, declared.get(fact.fact_id))
        shows = f"{fact.kind} on {name_of(fact.resource)}"
        shows += f" ({fact.message or fact.value})" if fact.message or fact.value else ""
        shows += f", in force from {format_time(fact.valid_from)}"
        gaps.append(
            ContextGap(
                event_id=fact.fact_id,
                resource=fact.resource,
                source=fact.source,
                class_=found.class_,
                span_id=found.span_id,
                read_at=found.read_at,
                step=found.step,
                shows=shows,
            )
        )
    return tuple(gaps)


def classify(fact: Fact, action: Action, reads: list[tuple[Read, list[ReadEntry]]], declared_at: int | None) -> Found:
    """What the session knew of one fact. Only a read after the fact was published can have shown it."""
    if fact.published_time > action.start_time:
        return Found("unknowable", "published after the decision", action.span_id)
    shown = [(read, shows(read, fact, entries)) for read, entries in reads]
    seen = [read for read, is_shown in shown if is_shown and read["read_at"] <= action.start_time]
    good = [read for read in seen if read["ok"]]
    times = [read["read_at"] for read in good if read["read_at"] >= fact.published_time]
    if declared_at is not None:
        times.append(declared_at)
    if times:
        return _seen(action, max(times))
    failed = [read for read in seen if not read["ok"]]
    # one that cannot be told, or one that ended after the action began and may hide an equal one before
    is_unclear = any(is_shown is None or (is_shown and read not in seen) for read, is_shown in shown)
    if failed and (not good or failed[-1]["read_at"] >= fact.published_time):
        found = _at("read_failed", failed[-1], "failed")
    elif good:
        found = _at("stale_read", good[-1], "read before this was published")
    else:
        found = Found("never_queried", _decision(action), action.last_chat_span_id or action.span_id)
    if is_unclear or (action.has_lost_reads and found.class_ != "stale_read"):
        return Found("cannot_tell", "some of its reads cannot be mapped", action.span_id)
    return found


def _seen(action: Action, last: int) -> Found:
    if action.cut_at is not None and last < action.cut_at <= action.start_time:
        return Found("dropped", "the context was cut", action.cut_span_id or action.span_id, last)
    return Found("seen_not_used", _decision(action), action.last_chat_span_id or action.span_id, last)


def _at(class_: GapClass, read: Read, how: str) -> Found:
    what = read["tool"] or f"read of {name_of(read['target'])}"
    return Found(class_, f"{what}: {how}", read["span_id"], read["read_at"])


def _decision(action: Action) -> str:
    return "the model call that decided" if action.last_chat_span_id else "the call itself"


def _entries(read: Read, action: Action, limits: Limits) -> list[ReadEntry]:
    call = {
        "tenant": action.tenant,
        "agent_id": action.agent_id,
        "agent_version": action.agent_version,
        "tool_name": read["tool"],
        "target": read["target"],
    }
    return [entry for entry in limits.reads if entry.match.covers(**call)]


def shows(read: Read, fact: Fact, entries: list[ReadEntry]) -> bool | None:
    """Whether this read shows the fact; None where it cannot be told.

    `limits.yml` says what a tool reads; where it does not, names do: a tool or a target that bears the name of the
    fact's source reads it, one that shares only a part of that name may, and so may
    one that runs whatever it is given.
    """
    tool, target = read["tool"], read["target"]
    if entries:
        if any(entry.shows(fact.source, fact.resource) for entry in entries):
            return True
        return None if any(entry.may_show_anything for entry in entries) else False
    if fact.source is None:
        return None if target is None else bool(target == fact.resource)
    if tool is None and (target is None or target == fact.resource):
        return None
    source = words(fact.source)
    if source <= words(name_of(target)) and target != fact.resource:
        return True
    telling = source - PLAIN_WORDS or source
    named = words(tool or "")
    if telling <= named:
        return True
    return None if target is None and named & (telling | RUN_ANYTHING) else False


def words(text: str) -> frozenset[str]:
    """The words of a name, in whatever way they are joined, without a plural s."""
    return frozenset(word.lower().removesuffix("s") for word in WORDS.findall(text))
