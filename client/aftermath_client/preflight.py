"""What a session should know before it acts, what of that it has not read, and what strict mode asks for. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from aftermath_client.facts import WINDOWS, Fact, Facts, place_of
from aftermath_client.limits import covers

ACTING = ("write", "destructive", "provision")
WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
PLAIN_WORDS = frozenset({"service", "api", "server", "system", "store", "provider", "manager"})
OFF = frozenset({"off", "false", "disabled", "0", "none"})
# which kind of fact tells the current value of which field
FIELDS = {
    **dict.fromkeys(("replicas", "scale"), "scale"),
    **dict.fromkeys(("image", "version", "release"), "deploy"),
    **dict.fromkeys(("enabled", "flag"), "flag"),
    "quota": "quota",
}


@dataclass(frozen=True, slots=True)
class Read:
    """A read of this session that worked: with which tool, what of, and when it had the answer."""

    tool: str | None
    target: str | None
    at: int


@dataclass(frozen=True, slots=True)
class Asked:
    """The call that is to be made."""

    tool: str | None
    target: str
    access: str
    summary: str | None = None
    approval: str | None = None
    expects: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Preflight:
    """The answer. facts: what holds for the target now; unread: those this session has not read.

    refusals: why strict mode does not let the call through, each with what to do; empty where it does.
    mismatches: what the decision was based on and is not so; unknown: what cannot be checked.
    """

    target: str
    at: int
    facts: tuple[Fact, ...] = ()
    unread: tuple[Fact, ...] = ()
    refusals: tuple[str, ...] = ()
    mismatches: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def is_clear(self) -> bool:
        """Whether nothing speaks against the call."""
        return not self.refusals

    @property
    def text(self) -> str:
        """For the agent: what holds, what it has not read, what is asked of it."""
        if not self.facts and not self.refusals:
            return f"Nothing is known that speaks against a change of {self.target} now."
        lines = [f"Before a change of {self.target}:"]
        named = [fact for fact in self.facts if not any(fact.says in refusal for refusal in self.refusals)]
        lines += [f"- {'Not read: ' if fact in self.unread else ''}{fact.says}" for fact in named]
        lines += [f"- {refusal}" for refusal in self.refusals]
        return "\n".join(lines)

    def as_attributes(self) -> dict[str, Any]:
        """What is published of it, on a span."""
        return {
            "facts": [fact.fact_id for fact in self.facts],
            "unread": [fact.fact_id for fact in self.unread],
            "refusals": list(self.refusals),
            "mismatches": list(self.mismatches),
        }


def preflight(
    asked: Asked,
    facts: Facts,
    known: Mapping[str, int],
    reads: Sequence[Read],
    limits: Mapping[str, Any],
    entries: Sequence[tuple[Read, list[Mapping[str, Any]]]],
    now: int,
) -> Preflight:
    """Judge one call. known: ids of facts the session was shown, and when; entries: `reads` of limits.yml for each."""
    found = facts.about(asked.target, now)
    unread = tuple(fact for fact in found if fact.fact_id not in known and not _was_read(fact, entries))
    mismatches, unknown = _compare(asked, facts, now)
    refusals: list[str] = []
    if asked.access in ACTING:
        refusals += _windows(asked, found, unread, limits)
        refusals += _asked_for(asked, reads, limits)
        refusals += [f"Not as expected: {text}. Look again, then decide." for text in mismatches]
    return Preflight(asked.target, now, tuple(found), unread, tuple(refusals), mismatches, unknown)


def _windows(asked: Asked, found: Sequence[Fact], unread: Sequence[Fact], limits: Mapping[str, Any]) -> Iterable[str]:
    """A window that was not read refuses; one that was read asks for a reason."""
    if limits.get("may_change_in_freeze"):
        return
    for fact in found:
        if fact.kind not in WINDOWS:
            continue
        if fact in unread:
            where = f"ask {fact.source}, or" if fact.source else ""
            yield f"Not read: {fact.says}. Read it ({where} take it from this answer), then decide again."
        elif not (asked.summary or "").strip():
            yield f"In force: {fact.says}. Say in `summary` why the change is made all the same, or wait."


def _asked_for(asked: Asked, reads: Sequence[Read], limits: Mapping[str, Any]) -> Iterable[str]:
    if limits.get("needs_approval") and asked.approval != "granted":
        yield "limits.yml wants an approval for this: ask for one, wait, and pass approval='granted', approved_by=..."
    if limits.get("needs_summary") and not (asked.summary or "").strip():
        yield "limits.yml wants a summary for this: say in `summary` what you know and why you act."
    if limits.get("needs_read_first") and not any(read.target == asked.target for read in reads):
        yield f"limits.yml wants a look first: read {asked.target} in this session before you change it."
    allowed = limits.get("allowed_targets")
    if allowed is not None and not any(fnmatchcase(asked.target, pattern) for pattern in allowed):
        yield f"limits.yml does not let this agent change {asked.target}."


def _compare(asked: Asked, facts: Facts, now: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """`{"deployment/cart.replicas": 6}`, or `{"replicas": 6}` of the target itself, against what is known."""
    mismatches, unknown = [], []
    for name, wanted in (asked.expects or {}).items():
        place, _, field = name.rpartition(".")
        resource = f"{place_of(asked.target)}/{place}" if place else asked.target
        kind = FIELDS.get(field, "config")
        state = facts.state(resource, kind, now)
        if state is None or state.value is None:
            unknown.append(name)
        elif not _is_same(state.value, wanted):
            mismatches.append(f"{name} is {state.value}, not {wanted}")
    return tuple(mismatches), tuple(unknown)


def _is_same(value: str, wanted: Any) -> bool:
    if isinstance(wanted, bool):
        return (value.lower() not in OFF) is wanted
    try:
        return float(value) == float(wanted)
    except (TypeError, ValueError):
        return str(wanted) in (value, value.rpartition(":")[2])


def _was_read(fact: Fact, entries: Sequence[tuple[Read, list[Mapping[str, Any]]]]) -> bool:
    """Whether a read after it was published has shown it."""
    return any(read.at >= fact.published_time and _shows(read, fact, said) for read, said in entries)


def entries_of(reads: Sequence[Read], declared: Sequence[Mapping[str, Any]], call: Mapping[str, str | None]) -> Any:
    """Each read with what limits.yml says that it shows."""
    return [
        (read, [e for e in declared if covers(e["match"], {**call, "tool_name": read.tool, "target": read.target})])
        for read in reads
    ]


def _shows(read: Read, fact: Fact, entries: Sequence[Mapping[str, Any]]) -> bool:
    """limits.yml says what a tool reads; where it does not, a tool or target with the name of the source reads it."""
    if entries:
        return any(_declares(entry, fact) for entry in entries)
    if fact.source is None:
        return read.target == fact.resource
    source = words(fact.source)
    if read.target is not None and read.target != fact.resource and source <= words(read.target.rpartition("/")[2]):
        return True
    return (source - PLAIN_WORDS or source) <= words(read.tool or "")


def _declares(entry: Mapping[str, Any], fact: Fact) -> bool:
    sources, resources = entry.get("sources") or (), entry.get("resources") or ()
    if sources and not any(fact.source is not None and fnmatchcase(fact.source, pattern) for pattern in sources):
        return False
    if resources and not any(fnmatchcase(fact.resource, pattern) for pattern in resources):
        return False
    return bool(sources or resources)


def words(text: str) -> frozenset[str]:
    """The words of a name, in whatever way they are joined, without a plural s."""
    return frozenset(word.lower().removesuffix("s") for word in WORDS.findall(text))
