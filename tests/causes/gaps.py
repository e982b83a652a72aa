"""Cases about context: facts that a session read, missed or lost before it changed something that then failed.

Every fact has one truth. Distractors are facts that did not hold, or are none of the target's business: they must not
be listed at all. Half of the cases say in limits.yml what a tool reads, the others leave it to names.
"""

import json
import random
from dataclasses import dataclass, field
from typing import Any

from tests.causes.telling import Case, Event, Session
from tests.corpus.names import WORDS, hexadecimal, word

CLASSES = ("never_queried", "stale_read", "read_failed", "dropped", "seen_not_used", "unknowable", "cannot_tell")
BLIND = ("dropped", "seen_not_used", "unknowable", "cannot_tell")  # what can be told where a read is unclear
KINDS = ("maintenance", "freeze", "flag", "quota")
ACTED = 1_200.0  # seconds after the start
CUT = 900.0


@dataclass(frozen=True, slots=True)
class Planted:
    """A case: its events, its entries for limits.yml, and event id -> (class, span where it dropped out or None)."""

    tenant: str
    events: tuple[Event, ...]
    reads: tuple[dict[str, Any], ...]
    truth: dict[str, tuple[str, str | None]]


@dataclass
class Told:
    """What is known while a case is told."""

    case: Case
    session: Session
    target: str
    depends_on: str
    is_cut: bool
    reads: list[dict[str, Any]] = field(default_factory=list)
    truth: dict[str, tuple[str, str | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.places: set[tuple[str, str]] = set()
        self.words = self.case.rng.sample(WORDS, len(WORDS))  # no source or tool shares a word with another


def planted(seed: int) -> Planted:
    """One case, a function of its seed."""
    rng = random.Random(f"gaps {seed}")
    case = Case(rng)
    scope = case.place
    kind = rng.choice(("deployment", "statefulset", "deployment"))
    target, other = f"{scope}/{kind}/{word(rng)}", f"{scope.split('/')[0]}/{word(rng)}/database/{word(rng)}"
    is_blind, is_cut = rng.random() < 0.25, rng.random() < 0.6
    told = Told(case, Session(case), target, other, is_cut)
    case.cluster(rng.uniform(0, 60), "dependency", target, value=other)
    for at in (150.0, 420.0, 700.0):
        told.session.chat(at)
    cut = _cut(told) if is_cut else None
    classes = [c for c in (BLIND if is_blind else CLASSES[:-1]) if is_cut or c != "dropped"]
    if is_blind:
        _blind_read(told)
    for _ in range(rng.randint(1, 4)):
        _fact(told, rng.choice(classes), cut)
    for _ in range(rng.randint(0, 3)):
        _distractor(told)
    for _ in range(rng.randint(0, 6)):  # work that has nothing to do with any of them
        tool, of = rng.choice(
            (("kubectl.get", target), ("metrics.query", target), ("kubectl.logs", case.pod_of(target)))
        )
        told.session.read(rng.uniform(200, 1_150), tool, of)
    _act_and_fail(told)
    return Planted(case.tenant, tuple(case.told()), tuple(told.reads), told.truth)


def _cut(told: Told) -> str:
    how = told.case.rng.choice(("length", "compacted", "fell"))
    if how == "length":
        return told.session.chat(CUT, finish_reason="length")
    if how == "compacted":
        return told.session.chat(CUT, attributes=json.dumps({"context.compacted": True}))
    told.session.context = told.session.context // 4
    return told.session.chat(CUT)


def _blind_read(told: Told) -> None:
    tool = told.case.rng.choice((None, "bash", "shell.run"))
    told.session.read(told.case.rng.uniform(910, 1_150), tool)


def _source(told: Told) -> tuple[str, str]:
    """A source's name and a tool that reads it: by its name, or because limits.yml says so."""
    rng = told.case.rng
    source = f"{told.words.pop()}-{told.words.pop()}"
    if rng.random() < 0.5:
        tool = f"{told.words.pop()}.lookup"
        told.reads.append({"match": {"tenant": told.case.tenant, "tool_name": tool}, "sources": [source]})
        return source, tool
    one, two = source.split("-")
    shapes = (f"{one}_{two}.list", f"{one.title()}{two.title()}Get", f"get-{one}-{two}", f"mcp/{one}.{two}/query")
    return source, rng.choice(shapes)


def _fact(told: Told, class_: str, cut: str | None) -> None:
    """A fact in the target's scope, and the reads that make the class true."""
    case, session, rng = told.case, told.session, told.case.rng
    kind = rng.choice(KINDS)
    resource = _resource(told, kind)
    if (kind, resource) in told.places:
        return  # a newer one would end the one before
    told.places.add((kind, resource))
    source, tool = _source(told)
    begins = rng.uniform(-9_000, -3_600)  # so long ago that it is no cause of what fails
    told_at = rng.uniform(20, 100)
    late = ACTED + rng.uniform(3, 60)
    published = {"unknowable": late, "stale_read": rng.uniform(600, 850)}.get(class_, told_at)
    fields: dict[str, Any] = {"source": source, "valid_from": case.at(begins), "published_time": case.at(published)}
    if kind in ("maintenance", "freeze") or rng.random() < 0.5:
        fields["valid_until"] = case.at(rng.uniform(5_000, 9_000))
    fact = case.cluster(published, kind, resource, value=rng.choice(("on", "half", "7")), message=word(rng), **fields)
    span: str | None = None
    after_cut = rng.uniform(910, 1_150)
    before_cut = rng.uniform(150, 550)
    if class_ == "stale_read":
        span = session.read(before_cut, tool)
    elif class_ == "read_failed":
        span = session.read(after_cut, tool, status="error", error_type="timeout")
    elif class_ == "dropped":
        span = cut
        session.read(before_cut, tool)
    elif class_ == "seen_not_used":
        _seen(told, fact, tool, source, after_cut)
    told.truth[fact] = (class_, span)


def _seen(told: Told, fact: str, tool: str, source: str, at: float) -> None:
    session, rng = told.session, told.case.rng
    how = rng.random()
    if how < 0.2:
        session.chat(at, context_facts=json.dumps([{"event_id": fact}]))
    elif how < 0.35:
        session.span(at, "retrieval", tool_name="retriever", target=f"corp/it/index/{source}", access="read")
    else:
        session.read(at, tool)
        if how > 0.8:  # it worked once; that it failed later takes nothing away
            session.read(at + rng.uniform(1, 20), tool, status="error")


def _resource(told: Told, kind: str) -> str:
    """In the target's scope, or what it depends on."""
    rng = told.case.rng
    scope = rng.choice((told.case.place, told.depends_on.rsplit("/", 2)[0]))
    if kind == "flag":
        return f"{scope}/flag/{word(rng)}"
    if rng.random() < 0.3:
        return f"{scope}/namespace/{scope.split('/')[1]}"
    return rng.choice((told.target, told.depends_on))


def _distractor(told: Told) -> None:
    """A fact that is over, off, not yet in force, or none of the target's business."""
    case, rng = told.case, told.case.rng
    fields: dict[str, Any] = {"source": _source(told)[0], "valid_from": case.at(-900), "valid_until": case.at(9_000)}
    resource = f"{told.case.place}/statefulset/{word(rng)}"
    how = rng.choice(("over", "off", "later", "elsewhere", "lifted"))
    kind = "flag" if how == "off" else "freeze" if how == "lifted" else rng.choice(KINDS)
    if how == "over":
        fields["valid_until"] = case.at(rng.uniform(200, 1_100))
    elif how == "off":
        fields |= {"value": "off", "valid_until": None}
    elif how == "later":
        fields["valid_from"] = case.at(rng.uniform(ACTED + 10, 4_000))
    elif how == "elsewhere":
        resource = f"{told.case.place.split('/')[0]}/{word(rng)}/statefulset/{word(rng)}"
    case.cluster(rng.uniform(20, 120), kind, resource, **fields)
    if how == "lifted":
        lifted = rng.uniform(300, 1_000)
        case.cluster(lifted, kind, resource, **fields | {"value": "lifted", "valid_from": case.at(lifted)})


def _act_and_fail(told: Told) -> None:
    case, session, rng = told.case, told.session, told.case.rng
    session.chat(ACTED - 8)
    session.span(
        ACTED + 1, "execute_tool", lasted=1.0, tool_name="kubernetes.apply", access="write", target=told.target,
        approval="granted", tool_args=json.dumps({"image": hexadecimal(rng, 8)}),
    )  # fmt: skip
    began = ACTED + rng.uniform(40, 240)
    for _ in range(rng.randint(2, 4)):
        began += rng.uniform(1, 9)
        case.cluster(began, "kubernetes", case.pod_of(told.target), reason="BackOff", severity="warning")
