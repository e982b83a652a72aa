"""Cases about causes: a cluster of services, changes by agents and people, a failure that spreads, and what caused it.

A case is a small world: services in a few namespaces that call each other, some of them changed in the hour before. One
change (or two, or none that can be seen) breaks its resource after a delay that fits its kind; callers follow. Innocent
changes are drawn from the same pool of kinds, actors and places, so that by chance they too lie near what failed.
"""

import json
import math
import random
from dataclasses import dataclass, field
from typing import Any

from tests.causes.telling import Case, Event, Session
from tests.corpus.names import WORDS, hexadecimal, word

SETTING = range(0, 1_000)  # weights are set on these
REPORTING = range(10_000, 12_100)  # and reported on these
LEFT_OUT = "roll-outs"  # no weight is set on it
FAMILIES = ("agent", "human", "coincident", "unrelated", "two causes", "missing telemetry", "roll-outs")
STEP = 30.0  # seconds between two points of a series
FAILS_AT = 2_700.0  # about when it breaks, seconds after the start
WATCHED = 480.0  # seconds of metrics before that
AFTER = 240.0
AGENT_TOOLS = (
    ("kubernetes.scale", "scale"), ("kubernetes.apply", "deploy"), ("helm.upgrade", "deploy"), ("config.set", "config"),
    ("db.migrate", "config"), ("kubernetes.delete", "config"),
)  # fmt: skip
LAGS = {"deploy": 70.0, "config": 60.0, "scale": 150.0, "flag": 50.0}  # median seconds from a change to what it breaks


@dataclass(frozen=True, slots=True)
class Failure:
    """A case: its events, and what is true. causes: ids of the spans or events to blame; empty: nothing that is seen."""

    tenant: str
    family: str
    events: tuple[Event, ...]
    causes: frozenset[str]
    verdict: str  # agent, change, shared or infrastructure
    failed_at: int
    has_culprit_record: bool


@dataclass(slots=True)
class World:
    """Services as resources, who calls whom, and what was changed."""

    case: Case
    services: list[str]
    calls: dict[str, list[str]] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)

    @property
    def rng(self) -> random.Random:
        """The case's own."""
        return self.case.rng

    def callers(self, service: str) -> list[str]:
        """Who calls it."""
        return [one for one, called in self.calls.items() if service in called]


def failure(seed: int, family: str | None = None) -> Failure:
    """One case, a function of its seed."""
    rng = random.Random(f"failures {seed}")
    family = family or FAMILIES[seed % len(FAMILIES)]
    world = _world(Case(rng))
    root = rng.choice(world.services)
    told = {
        "agent": _one("agent"),
        "human": _one("human"),
        "coincident": _coincident,
        "unrelated": _unrelated,
        "two causes": _two,
        "missing telemetry": _missing,
        "roll-outs": _rollouts,
    }[family](world, root)
    _bystanders(world, rng.choice((0, 0, 1, 2, 3)))
    _at_work(world.case, seed)
    verdict, causes, hides = told
    events = tuple(event for event in world.case.told() if not hides(event))
    ids = {event.get("span_id") or event.get("event_id") for event in events}
    seen = causes & ids
    return Failure(
        world.case.tenant, family, events, frozenset(seen), verdict if seen else "infrastructure",
        world.case.at(FAILS_AT), bool(seen) == bool(causes),
    )  # fmt: skip


def _world(case: Case) -> World:
    rng = case.rng
    cluster = case.place.split("/")[0]
    scopes = [case.place, *(f"{cluster}/{word(rng)}" for _ in range(rng.randint(0, 2)))]
    services = []
    for _ in range(rng.randint(4, 9)):
        kind = rng.choice(("deployment", "deployment", "deployment", "statefulset"))
        services.append(f"{rng.choice(scopes)}/{kind}/{word(rng)}")
    world = World(case, services)
    for number, service in enumerate(services[1:], 1):
        for called in rng.sample(services[:number], min(number, rng.choice((0, 1, 1, 2)))):
            world.calls.setdefault(service, []).append(called)
            case.cluster(rng.uniform(0, 30), "dependency", service, value=called)
    return world


def _hides_nothing(_: Event) -> bool:
    return False


def _one(who: str) -> Any:
    def told(world: World, root: str) -> Any:
        kind = _kind(world, who)
        lag = _lag(world, kind)
        cause = _change(world, root, FAILS_AT - lag, who, kind)
        _breaks(world, root, kind)
        return "agent" if who == "agent" else "change", {cause}, _hides_nothing

    return told


def _coincident(world: World, root: str) -> Any:
    """An innocent change minutes from the culprit, by somebody else, in the same namespace or next to it."""
    rng = world.rng
    who = rng.choice(("agent", "human"))
    found = _one(who)(world, root)
    near = [s for s in world.services if s != root and (_scope(s) == _scope(root) or s in world.callers(root))]
    place = rng.choice(near or [s for s in world.services if s != root])
    other = "human" if who == "agent" else "agent"
    _change(world, place, FAILS_AT - rng.uniform(5, 400), other, _kind(world, other))
    return found


def _unrelated(world: World, root: str) -> Any:
    """Nothing that is seen did it: a sick node, or something of itself."""
    rng = world.rng
    for _ in range(rng.randint(0, 3)):
        who = rng.choice(("agent", "human"))
        _change(world, rng.choice(world.services), FAILS_AT - rng.uniform(5, 3_000), who, _kind(world, who))
    _breaks(world, root, "", node=f"node-{rng.randrange(90)}" if rng.random() < 0.4 else None)
    return "infrastructure", set(), _hides_nothing


def _two(world: World, root: str) -> Any:
    """An agent and a person changed the same thing minutes apart, and it takes both."""
    rng = world.rng
    causes = set()
    for who in ("agent", "human"):
        kind = _kind(world, who, flags=False)
        causes.add(_change(world, root, FAILS_AT - rng.uniform(30, 200), who, kind))
    _breaks(world, root, "deploy")
    return "shared", causes, _hides_nothing


def _missing(world: World, root: str) -> Any:
    """An agent or a person did it, and a part of what would show it never came."""
    rng = world.rng
    verdict, causes, _ = _one(rng.choice(("agent", "human")))(world, root)
    what = rng.choice(("culprit", "dependencies", "metrics", "effects"))
    hides = {
        "culprit": lambda e: (e.get("span_id") or e.get("event_id")) in causes or e.get("actor_kind") == "agent",
        "dependencies": lambda e: e.get("kind") == "dependency",
        "metrics": lambda e: e["type"] == "metric_point",
        "effects": lambda e: e.get("actor_kind") in ("agent", "controller"),
    }[what]
    return verdict, causes, hides


def _rollouts(world: World, root: str) -> Any:
    """One to six roll-outs in one cluster within minutes of each other; one of them breaks its service."""
    rng = world.rng
    others = [service for service in world.services if service != root]
    rng.shuffle(others)
    lag = _lag(world, "deploy")
    who = rng.choice(("human", "human", "agent"))
    cause = _change(world, root, FAILS_AT - lag, who, "deploy")
    for place in others[: rng.randint(0, 5)]:
        at = FAILS_AT - lag + rng.uniform(-240, 240)
        _change(world, place, min(at, FAILS_AT - 3), rng.choice(("human", "human", "agent")), "deploy")
    _breaks(world, root, "deploy")
    return "agent" if who == "agent" else "change", {cause}, _hides_nothing


def _bystanders(world: World, number: int) -> None:
    for _ in range(number):
        who = world.rng.choice(("agent", "human"))
        at = FAILS_AT - world.rng.uniform(5, 3_300)
        if world.rng.random() < 0.3:  # paper work
            session = Session(world.case)
            place = f"{world.case.place.split('/')[0]}/{world.rng.choice(WORDS)}/ticket/{word(world.rng)}"
            session.span(at, "execute_tool", tool_name="ticket.update", access="write", target=place)
        else:
            _change(world, world.rng.choice(world.services), at, who, _kind(world, who))


def _at_work(case: Case, seed: int) -> None:
    """An agent that only reads, all the while and far away: a tenant without any trace would be one of lost traces.

    Drawn apart, so that nothing else of the case changes by it.
    """
    drawn, case.rng = case.rng, random.Random(f"at work {seed}")
    session, at = Session(case), case.rng.uniform(0, 60)
    while at < FAILS_AT + AFTER:
        session.read(at, "docs.read", f"{case.place.split('/')[0]}/library/page/{word(case.rng)}-{round(at)}")
        at += case.rng.uniform(40, 100)
    case.rng = drawn


def _kind(world: World, who: str, flags: bool = True) -> str:
    kinds = ["deploy", "deploy", "config", "scale"] + (["flag"] if flags and who == "human" else [])
    return world.rng.choice(kinds)


def _lag(world: World, kind: str) -> float:
    """Mostly around the median of its kind, now and then a quarter of an hour."""
    return min(1_500.0, max(4.0, world.rng.lognormvariate(math.log(LAGS[kind]), 0.9)))


def _change(world: World, place: str, at: float, who: str, kind: str) -> str:
    """A change at `at`; returns the id of the span or event that shows who did it."""
    rng, case = world.rng, world.case
    values = _values(rng, kind)
    if who == "human":
        resource = f"{_scope(place)}/flag/{place.rsplit('/', 1)[1]}-{rng.choice(WORDS)}" if kind == "flag" else place
        actor: dict[str, Any] = {"actor": f"user:{rng.choice(WORDS)}", "actor_kind": "human"}
        if kind == "flag" and rng.random() < 0.6:
            case.cluster(rng.uniform(0, 30), "dependency", place, value=resource)
        return case.cluster(at, kind, resource, **values | actor)
    session = Session(case)
    for _ in range(rng.randint(0, 2)):
        session.read(at - rng.uniform(10, 90), "kubectl.get", place)
    session.chat(at - 5)
    tool = rng.choice([name for name, does in AGENT_TOOLS if does == kind])
    span = session.span(
        at + 1, "execute_tool", lasted=1.0, tool_name=tool, target=place, tool_args=json.dumps(values),
        access="destructive" if tool.endswith("delete") else rng.choice(("write", "write", "provision")),
        approval=rng.choice(("granted", "not_required", None)),
    )  # fmt: skip
    if rng.random() < 0.6:
        who_did = rng.choice((
            {"actor": session.agent, "actor_kind": "agent", "session_id": session.session},
            {"actor": "deployment-controller", "actor_kind": "controller"},
        ))  # fmt: skip
        case.cluster(at + rng.uniform(1, 6), "deploy" if kind == "config" else kind, place, **values | who_did)
    return span


def _values(rng: random.Random, kind: str) -> dict[str, str]:
    if kind == "scale":
        before = rng.randint(2, 8)
        return {"previous_value": str(before), "value": str(before * rng.choice((2, 3, 4)) + rng.randint(0, 1))}
    return {"previous_value": hexadecimal(rng, 7), "value": "on" if kind == "flag" else hexadecimal(rng, 7)}


def _breaks(world: World, root: str, kind: str, node: str | None = None) -> None:
    """The root fails, what calls it follows; a scale-up hurts what it calls first."""
    rng, case = world.rng, world.case
    hurt = {root: 0.0}
    called = world.calls.get(root, [])
    if kind == "scale" and called and rng.random() < 0.5:
        hurt = {rng.choice(called): 0.0, root: rng.uniform(5, 60)}
    for origin in list(hurt):
        for caller in world.callers(origin):
            if rng.random() < 0.65:
                hurt.setdefault(caller, hurt[origin] + rng.uniform(3, 100))
                for further in world.callers(caller):
                    if rng.random() < 0.35:
                        hurt.setdefault(further, hurt[caller] + rng.uniform(5, 100))
    if node is not None:
        reason = rng.choice(("SystemOOM", "NodeNotReady", "NodeHasDiskPressure"))
        resource = f"{_scope(root).split('/')[0]}/cluster/node/{node}"
        case.cluster(FAILS_AT + rng.uniform(-5, 20), "kubernetes", resource, reason=reason, severity="warning")
    labels = json.dumps({"node": node}) if node else None
    has_metrics = rng.random() < 0.8
    for service in world.services:
        delay = hurt.get(service)
        if has_metrics and (service == root or rng.random() < 0.75):
            _series(world, service, None if delay is None else FAILS_AT + delay)
        if delay is not None:
            _warns(world, service, FAILS_AT + delay, service in list(hurt)[:2], labels)


def _series(world: World, service: str, from_: float | None) -> None:
    rng = world.rng
    metric, level = rng.choice((("http.latency_p95_ms", 120.0), ("http.error_rate", 0.8), ("queue.lag", 40.0)))
    size = rng.uniform(1.8, 9)
    at = FAILS_AT - WATCHED + rng.uniform(0, STEP)
    while at < FAILS_AT + AFTER:
        is_bad = from_ is not None and at >= from_
        world.case.metric(at, service, metric, level * (size if is_bad else 1) * rng.uniform(0.95, 1.05))
        at += STEP


def _warns(world: World, service: str, at: float, is_origin: bool, labels: str | None) -> None:
    rng, case = world.rng, world.case
    strong = rng.choice(("BackOff", "CrashLoopBackOff", "OOMKilling"))
    if is_origin:
        for pod in range(rng.randint(1, 3)):
            when = at + rng.uniform(0, 20) + 6 * pod
            case.cluster(when, "kubernetes", case.pod_of(service), reason=strong, severity="warning", labels=labels)
    elif rng.random() < 0.6:
        reason = rng.choice(("Unhealthy", "Unhealthy", strong))
        case.cluster(at + rng.uniform(0, 30), "kubernetes", case.pod_of(service), reason=reason, severity="warning")


def _scope(resource: str) -> str:
    return "/".join(resource.split("/")[:2])
