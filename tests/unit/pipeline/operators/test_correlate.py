"""Correlate over an outage: provisional while a source is silent, the same as ever once it is back."""

import dataclasses
import json
import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import polars as pl
import pytest

from pipeline.core.limits import Limits
from pipeline.core.merge import MOST_HELD_ROWS, SilenceWatch
from pipeline.core.panes import TimeRules
from pipeline.correlation.correlator import Correlator
from pipeline.operators import state
from pipeline.operators.correlate import CorrelateOperator
from pipeline.operators.tenants import FOLLOWS, HAPPENED, LAST_STEP, OVER, revision_number
from schemas.errors import ConfigurationError
from schemas.incidents import Incident
from schemas.signals import Action, Fact, Forgetting, Gap, Marker, Reduced, Row, Signal, Usage
from schemas.times import LATEST, MICROS, MINUTE
from schemas.usage import COLUMNS, KEY, SUMS, usage_of
from tests.builders import T0, at, span
from tests.scenario import SETTLE, replay

PANE = 5 * MICROS
SOURCES = ("agent.traces.v1/0", "agent.traces.v1/1", "cluster.events.v1/0")
TRACES, OTHER, EVENTS = SOURCES
Messages = list[Reduced | Marker | Gap | Forgetting]


def pane(number: int) -> int:
    return T0 + number * PANE


def signal(number: int, kind: str, name: str, details: dict[str, Any], **fields: Any) -> Signal:
    """A signal of pane `number`."""
    cited = {"type": "signal", "topic": "t", "partition": 0, "offset": 0, "event_id": name, "event_time": pane(number)}
    return Signal(
        signal_id=name, type=kind, window_start=pane(number), window_end=pane(number + 1), detected_at=pane(number + 1),
        evidence=json.dumps({"references": [{**cited, "resource": None, "shows": name}], **details}),
        summary=name, **{"tenant": "acme"} | fields,
    )  # fmt: skip


def symptom(number: int, name: str, resource: str = "prod/shop/pod/web-0", **fields: Any) -> Signal:
    details = {"is_strong": True, "reason": "BackOff"}
    return signal(number, "symptom.kubernetes", name, details, resource=resource, scope="prod/shop", **fields)


def burn(number: int, name: str, session: str = "s1", **fields: Any) -> Signal:
    return signal(number, "token_burn.session", name, {}, agent_id="agent-1", session_id=session, **fields)


def action(number: int, name: str, target: str = "prod/shop/deployment/web", tenant: str = "acme") -> Action:
    return Action(
        tenant=tenant, trace_id="t", span_id=name, session_id="s1", agent_id="agent-1", operation="execute_tool",
        access="write", start_time=pane(number), end_time=pane(number) + MICROS, status="ok", target=target,
        tool_name="scale",
    )  # fmt: skip


def deploy(number: int, name: str, tenant: str = "acme") -> Fact:
    return Fact(
        tenant=tenant, fact_id=name, kind="deploy", resource="prod/shop/deployment/web", event_time=pane(number),
        published_time=pane(number), valid_from=pane(number), actor="user:mo", actor_kind="human",
    )  # fmt: skip


def closed(source: str, number: int, *rows: Row) -> Messages:
    """The messages of one pane of one source."""
    marker = Marker(source=source, pane=pane(number), run="r", rows=len(rows))
    return [*(Reduced(source, pane(number), "r", row) for row in rows), marker]


def all_closed(number: int, *, but: str = "") -> Messages:
    return [message for source in SOURCES if source != but for message in closed(source, number)]


def gap(source: str, number: int) -> Gap:
    return Gap(source=source, pane=pane(number))


def of_kind(found: Sequence[Incident], *kinds: str) -> list[Incident]:
    return [incident for incident in found if incident.kind in kinds]


def failures(found: Sequence[Incident]) -> list[Incident]:
    return of_kind(found, "infrastructure_failure", "agent_caused_failure")


def test_revision_numbers_sort_as_the_pair_of_the_firm_pane_and_what_lies_ahead_of_it() -> None:
    pairs = [(pane(n), step) for n in (0, 1, 2, 17280) for step in (HAPPENED, OVER, FOLLOWS, FOLLOWS + 9, LAST_STEP)]
    numbers = [revision_number(*pair) for pair in pairs]
    assert numbers == sorted(set(numbers))
    assert revision_number(-(2**62), FOLLOWS) < numbers[0]
    assert revision_number(LATEST, LAST_STEP) < 2**53


def test_a_pane_that_is_no_whole_number_of_seconds_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="whole seconds"):
        CorrelateOperator(SOURCES, rules=TimeRules(pane=1_500_000))


def test_without_a_gap_record_a_silent_source_holds_everything_back() -> None:
    operator = CorrelateOperator(SOURCES)
    assert operator.read(all_closed(0)) == []
    assert operator.read([*closed(EVENTS, 1, symptom(1, "x")), *closed(OTHER, 1)]) == []
    assert operator.held_rows == 1


def test_from_the_gap_record_on_an_incident_is_said_provisionally() -> None:
    operator = CorrelateOperator(SOURCES)
    operator.read(all_closed(0))
    operator.read([*closed(EVENTS, 1, symptom(1, "x")), *closed(OTHER, 1)])
    (found,) = failures(operator.read([gap(TRACES, 0)]))
    assert (found.status, found.provisional, found.detected_at) == ("open", True, pane(2))
    assert operator.held_rows == 1, "the firm state still waits for it"


def test_what_the_missing_data_agrees_with_is_confirmed() -> None:
    operator = CorrelateOperator(SOURCES)
    elsewhere = action(0, "a", "prod/far/deployment/x")  # agents are heard of
    operator.read([*all_closed(0, but=TRACES), *closed(TRACES, 0, elsewhere)])
    operator.read([*closed(EVENTS, 1, symptom(1, "x")), *closed(OTHER, 1)])
    (provisional,) = failures(operator.read([gap(TRACES, 0)]))
    (firm,) = failures(operator.read(closed(TRACES, 1)))
    # the same but for how sure it is: what is silent may hold another cause
    surer = {"attribution": firm.attribution, "summary": firm.summary}
    assert firm == provisional.model_copy(update={"revision": firm.revision, "provisional": False} | surer)
    assert firm.attribution.probability > provisional.attribution.probability
    assert firm.revision > provisional.revision
    assert operator.held_rows == 0


def test_what_the_missing_data_tells_otherwise_is_withdrawn() -> None:
    operator = CorrelateOperator(SOURCES)
    operator.read([*all_closed(0), *closed(EVENTS, 2, symptom(2, "y")), *closed(OTHER, 2)])
    (provisional,) = failures(operator.read([gap(TRACES, 0)]))
    found = failures(operator.read([*closed(TRACES, 1, symptom(1, "x")), *closed(TRACES, 2)]))
    withdrawn = [incident for incident in found if incident.status == "withdrawn"]
    assert [incident.incident_id for incident in withdrawn] == [provisional.incident_id]
    assert (withdrawn[0].provisional, withdrawn[0].updated_at) == (False, pane(3))
    assert withdrawn[0].revision > provisional.revision
    (other,) = {incident.incident_id for incident in found} - {provisional.incident_id}
    assert next(incident.started_at for incident in found if incident.incident_id == other) == pane(1)


@pytest.mark.parametrize("seen_again", ["x", "again"])
def test_an_incident_that_the_copy_took_for_over_is_open_again_once_the_missing_data_is_there(seen_again: str) -> None:
    operator = CorrelateOperator(SOURCES)
    opened = [*all_closed(0), *closed(EVENTS, 1, symptom(1, "x")), *closed(OTHER, 1), *closed(TRACES, 1)]
    (before,) = failures(operator.read(opened))
    operator.read([*all_closed(60, but=TRACES), gap(TRACES, 1)])
    (over,) = failures(operator.read(all_closed(79, but=TRACES)))
    assert (over.incident_id, over.status, over.provisional) == (before.incident_id, "resolved", True)
    # the same warning again says when it was warned of last: that is a revision, as another one is
    (last,) = failures(operator.read([*closed(TRACES, 30, symptom(30, seen_again)), *closed(TRACES, 79)]))
    assert (last.status, last.provisional) == ("open", False)
    assert last.revision > over.revision
    assert last.revision == revision_number(pane(30), HAPPENED)
    assert [item.last_at for item in last.blast_radius] == [symptom(30, "x").window_end]


def test_a_source_that_is_back_while_another_holds_the_rest_is_looked_at_as_well() -> None:
    operator = CorrelateOperator(SOURCES)
    operator.read([*all_closed(0), *closed(EVENTS, 2, symptom(2, "y"))])
    (first,) = failures(operator.read([gap(TRACES, 0), gap(OTHER, 0)]))
    assert first.started_at == pane(2)
    # half way up to what was said before nothing is said: an incident must not seem to go back in time
    assert failures(operator.read(closed(OTHER, 1, symptom(1, "x")))) == []
    (second,) = failures(operator.read(closed(OTHER, 2)))
    assert (second.started_at, second.provisional) == (pane(1), True)
    assert second.revision > first.revision


def test_what_the_firm_state_has_since_said_otherwise_is_said_provisionally_again() -> None:
    operator = CorrelateOperator(SOURCES)
    operator.read([*all_closed(0), *closed(EVENTS, 1, symptom(1, "x")), *closed(EVENTS, 79), *closed(OTHER, 5)])
    (over,) = failures(operator.read([gap(OTHER, 5), gap(TRACES, 0)]))
    assert (over.status, over.provisional) == ("resolved", True)
    # the firm state comes to pane 5, where it is open, and waits for the other source there
    opened, again = failures(operator.read(closed(TRACES, 79)))
    assert (opened.status, opened.provisional) == ("open", False)
    surer = {"attribution": again.attribution, "summary": again.summary}  # one source less is silent
    assert again == over.model_copy(update={"revision": again.revision} | surer)
    assert over.revision < opened.revision < again.revision


def state_of(tenant: Correlator) -> str:
    """Everything a correlator knows, as text."""
    return repr(plain(tenant.saved()))


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {repr(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if isinstance(value, list | tuple | deque):
        return [plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    return value


def usage(number: int) -> Usage:
    row = {**dict.fromkeys(KEY), **dict.fromkeys(SUMS, 0), "agent_id": "agent-1", "operation": "chat", "calls": 7}
    return usage_of("acme", pane(number), TRACES, pl.DataFrame([row], schema=COLUMNS))


ROWS: tuple[Callable[[int, str], Row], ...] = (
    symptom,
    burn,
    action,
    deploy,
    lambda number, name: dataclasses.replace(deploy(number, name), kind="freeze"),
    lambda number, name: dataclasses.replace(
        deploy(number, name), kind="dependency", value=f"prod/shop/service/{name}"
    ),
    lambda number, name: symptom(number, name, f"prod/{name}/pod/web-0"),
    lambda number, _: usage(number),
)


@pytest.mark.parametrize("row", range(len(ROWS)))
def test_what_happens_to_a_twin_leaves_the_correlator_as_it_was(row: int) -> None:
    correlator = Correlator("acme", PANE, Limits())
    correlator.apply(pane(0), [make(0, f"zero-{number}") for number, make in enumerate(ROWS)])
    before, twin = state_of(correlator), correlator.twin()
    assert state_of(twin) == before
    twin.apply(pane(13), [ROWS[row](13, "later")])
    assert state_of(twin) != before, "the row must change something, or this shows nothing"
    twin.advance(pane(500))
    assert state_of(correlator) == before


def test_when_all_sources_are_silent_nothing_runs_ahead() -> None:
    operator = CorrelateOperator(SOURCES)
    operator.read([*all_closed(0), *closed(EVENTS, 1, symptom(1, "x"))])
    assert failures(operator.read([gap(TRACES, 0), gap(OTHER, 0)])) != []
    assert failures(operator.read([*closed(EVENTS, 2, symptom(2, "z", "lab/a/pod/b-0")), gap(EVENTS, 2)])) != []
    alone = CorrelateOperator(SOURCES[:1])
    alone.read([*closed(TRACES, 0), Reduced(TRACES, pane(1), "r", symptom(1, "x"))])
    assert failures(alone.read([gap(TRACES, 0)])) == []


def test_a_silent_source_is_told_to_every_tenant_seen_and_resolved_when_it_speaks() -> None:
    operator = CorrelateOperator(SOURCES)
    operator.read(
        [*closed(TRACES, 0, action(0, "a"), action(0, "b", tenant="bolt")), *closed(OTHER, 0), *closed(EVENTS, 0)]
    )
    operator.read(all_closed(14, but=TRACES))
    begun = operator.read([gap(TRACES, 0)])
    assert [(found.kind, found.tenant, found.status) for found in begun] == [
        ("telemetry_gap", "acme", "open"),
        ("telemetry_gap", "bolt", "open"),
    ]
    assert begun[0].title == "no data from agent.traces.v1/0 since 14:00:05: verdicts since then are provisional"
    assert (begun[0].started_at, begun[0].detected_at) == (at(5), at(75))
    assert operator.read([gap(TRACES, 0), *all_closed(15, but=TRACES)]) == [], "told once"
    (third,) = of_kind(
        operator.read(closed(EVENTS, 16, deploy(16, "d", tenant="crab")) + closed(OTHER, 16)), "telemetry_gap"
    )
    assert (third.tenant, third.started_at) == ("crab", at(5)), "a tenant that is new meanwhile is told as well"
    ended = of_kind(operator.read(closed(TRACES, 1)), "telemetry_gap")
    assert [(found.tenant, found.status, found.resolved_at) for found in ended] == [
        ("acme", "resolved", at(85)),
        ("bolt", "resolved", at(85)),
        ("crab", "resolved", at(85)),
    ]
    assert ended[0].title == "no data from agent.traces.v1/0 between 14:00:05 and 14:01:25"
    assert [e.incident_id for e in ended[:2]] == [b.incident_id for b in begun]
    assert all(e.revision > b.revision for e, b in zip(ended, [*begun, third], strict=True))


def test_a_source_that_never_spoke_is_told_without_a_time() -> None:
    operator = CorrelateOperator(SOURCES)
    operator.read([*closed(EVENTS, 0, symptom(0, "x")), *closed(OTHER, 0)])
    found = operator.read([Gap(source=TRACES, pane=-(2**62))])
    assert [incident.provisional for incident in failures(found)] == [True]
    (told,) = of_kind(found, "telemetry_gap")
    assert told.title == "no data from agent.traces.v1/0 yet: verdicts are provisional"
    assert of_kind(operator.read(closed(TRACES, 0)), "telemetry_gap")[0].status == "resolved"


def again_from_its_state(operator: CorrelateOperator) -> CorrelateOperator:
    restarted = CorrelateOperator(SOURCES)
    state.load(restarted, state.dump(operator))
    return restarted


@pytest.mark.fault("F26")
@pytest.mark.parametrize("at_once", [True, False])
def test_with_its_memory_lost_it_says_so_to_every_tenant_and_of_what_may_have_an_older_cause_nothing_firm(
    at_once: bool,
) -> None:
    operator = CorrelateOperator(SOURCES)

    def read(messages: Messages) -> list[Incident]:
        nonlocal operator
        operator.starts_at(17)
        found = operator.read(messages) if at_once else [one for m in messages for one in operator.read([m])]
        operator = again_from_its_state(operator)  # whatever is saved, it is the same after a restart
        return found

    last = 60 * MINUTE // PANE  # the first whole pane is 1; a cause lies at most an hour back
    found = read([*all_closed(0), *closed(EVENTS, 1, symptom(1, "x")), *closed(OTHER, 1), *closed(TRACES, 1)])
    assert [(failure.status, failure.provisional) for failure in failures(found)] == [("open", True)]
    (told,) = of_kind(found, "telemetry_gap")
    assert (told.tenant, told.status, told.started_at) == ("acme", "open", pane(1))
    assert told.title == (
        "what was before 14:00:05 is not remembered: verdicts on what began by 15:00:05 are provisional"
    )
    assert "signals.v1 begins at offset 17" in told.summary
    found = read([*all_closed(70, but=EVENTS), *closed(EVENTS, 70, deploy(70, "d", tenant="bolt"))])
    assert [(failure.status, failure.provisional) for failure in failures(found)] == [("resolved", True)]
    assert [gap.tenant for gap in of_kind(found, "telemetry_gap")] == ["bolt"]
    assert read(all_closed(last - 1)) == []
    found = read([*all_closed(last, but=EVENTS), *closed(EVENTS, last, symptom(last, "y", "prod/a/pod/b-0"))])
    assert [(failure.status, failure.provisional) for failure in failures(found)] == [("open", True)]
    over = of_kind(found, "telemetry_gap")
    assert [(gap.tenant, gap.status, gap.resolved_at) for gap in over] == [
        ("acme", "resolved", pane(last + 1)),
        ("bolt", "resolved", pane(last + 1)),
    ]
    assert over[0].incident_id == told.incident_id
    assert over[0].revision > told.revision
    after = last + 1
    found = read([*all_closed(after, but=EVENTS), *closed(EVENTS, after, symptom(after, "z", "prod/c/pod/d-0"))])
    assert [(failure.status, failure.provisional) for failure in failures(found)] == [("open", False)]
    assert of_kind(found, "telemetry_gap") == []


@pytest.mark.fault("F26")
@pytest.mark.parametrize("at_once", [True, False])
def test_what_detect_forgot_is_told_to_every_tenant_and_what_may_hang_on_it_stays_provisional(at_once: bool) -> None:
    operator = CorrelateOperator(SOURCES)

    def read(messages: Messages) -> list[Incident]:
        nonlocal operator
        found = operator.read(messages) if at_once else [one for m in messages for one in operator.read([m])]
        operator = again_from_its_state(operator)
        return found

    def strong(number: int, where: str) -> Messages:
        return [
            *all_closed(number, but=EVENTS),
            *closed(EVENTS, number, symptom(number, where, f"prod/{where}/pod/p-0")),
        ]

    def status(found: list[Incident]) -> list[tuple[str, bool]]:
        return [(failure.status, failure.provisional) for failure in failures(found)]

    assert status(read([*all_closed(0), *strong(1, "known")])) == [("open", False)]
    whole_from = 14  # it forgot after pane 1, and its first minute is not whole
    forgot = Forgetting(source=TRACES, pane=pane(whole_from), offset=30)
    assert read([forgot, forgot]) == []  # a worker died before it had saved anything, and the next one says the same
    found = read(strong(whole_from, "next"))
    assert status(found) == [("open", True)]
    (told,) = of_kind(found, "telemetry_gap")
    assert told.title == (
        "what agent.traces.v1/0 told before 14:01:10 is not remembered: verdicts on what began by 15:01:10 are provisional"
    )
    assert "A worker of detect had no snapshot it could use, and agent.traces.v1/0 begins at offset 30" in told.summary
    found = read(all_closed(80))  # what was open before it forgot ends by what it says now
    assert status(found) == [("resolved", True), ("resolved", True)]
    last = whole_from + 60 * MINUTE // PANE - 1
    assert of_kind(read(all_closed(last - 1)), "telemetry_gap") == []
    found = read(strong(last, "last"))
    assert status(found) == [("open", True)]
    (over,) = of_kind(found, "telemetry_gap")
    assert (over.incident_id, over.status, over.resolved_at) == (told.incident_id, "resolved", pane(last + 1))
    assert status(read(strong(last + 1, "after"))) == [("open", False)]
    assert operator.read([forgot]) == []
    assert status(operator.read(strong(last + 2, "later"))) == [("open", False)]


def test_what_detect_forgot_long_before_what_it_has_told_is_no_loss() -> None:
    operator = CorrelateOperator(SOURCES)
    operator.read(all_closed(60 * MINUTE // PANE))
    operator.read([Forgetting(source=TRACES, pane=pane(0), offset=30)])
    number = 60 * MINUTE // PANE + 1
    found = operator.read([*all_closed(number, but=EVENTS), *closed(EVENTS, number, symptom(number, "x"))])
    assert [(incident.kind, incident.provisional) for incident in found] == [("infrastructure_failure", False)]


def test_a_source_that_forgets_again_while_it_matters_is_told_of_for_longer() -> None:
    operator = CorrelateOperator(SOURCES)
    operator.read([*all_closed(0, but=EVENTS), *closed(EVENTS, 0, deploy(0, "d"))])
    operator.read([Forgetting(source=TRACES, pane=pane(1), offset=30)])
    (told,) = operator.read(all_closed(1))
    operator.read([Forgetting(source=TRACES, pane=pane(100), offset=60)])
    hour = 60 * MINUTE // PANE
    assert operator.read(all_closed(hour + 98)) == []
    (over,) = operator.read(all_closed(hour + 99))
    assert (over.incident_id, over.status, over.resolved_at) == (told.incident_id, "resolved", pane(hour + 100))


def test_from_the_beginning_of_the_log_and_from_a_snapshot_nothing_is_forgotten() -> None:
    operator = CorrelateOperator(SOURCES)
    operator.starts_at(0)
    operator.read(all_closed(0))
    for one in (operator, again_from_its_state(operator)):
        one.starts_at(17)  # where its next messages lie
        found = one.read([*closed(EVENTS, 1, symptom(1, "x")), *closed(OTHER, 1), *closed(TRACES, 1)])
        assert [(incident.kind, incident.provisional) for incident in found] == [("infrastructure_failure", False)]


def test_two_revisions_of_an_incident_in_one_pane_have_two_numbers() -> None:
    operator = CorrelateOperator(SOURCES[:1])
    operator.read(closed(TRACES, 0, symptom(0, "x")))
    # five quiet minutes end with pane 60, in which a deploy from before the failure arrives late and changes the verdict
    found = operator.read(closed(TRACES, 60, deploy(-1, "d")))
    assert [(incident.status, incident.updated_at) for incident in found] == [
        ("open", pane(61)),
        ("resolved", pane(61)),
    ]
    assert found[0].revision < found[1].revision < revision_number(pane(60), FOLLOWS)


def test_the_bound_on_held_rows_is_said() -> None:
    operator = CorrelateOperator(SOURCES[:2])
    rows: Messages = [Reduced(TRACES, pane(1), "r", action(1, "a"))] * (MOST_HELD_ROWS - 1)
    operator.read(rows)
    assert not operator.is_full
    operator.read(rows[:1])
    assert (operator.is_full, operator.held_rows) == (True, MOST_HELD_ROWS)


# -- random outages


def random_rows(draw: random.Random, source: str, number: int) -> list[Row]:
    """Strong symptoms in few places, burns of few sessions, changes that may be the cause."""
    out: list[Row] = []
    name = f"{source}/{number}"
    if draw.random() < 0.06:
        where = draw.choice(("prod/shop/pod/web-0", "prod/shop/pod/db-0", "prod/pay/pod/web-0"))
        out.append(symptom(number, f"{name}/symptom", where, tenant=draw.choice(("acme", "bolt"))))
    if draw.random() < 0.05:
        out.append(burn(number, f"{name}/burn", draw.choice(("s1", "s2")), tenant=draw.choice(("acme", "bolt"))))
    if draw.random() < 0.05:
        out.append(action(number, f"{name}/action", tenant=draw.choice(("acme", "bolt"))))
    if draw.random() < 0.03:
        out.append(deploy(number, f"{name}/deploy", draw.choice(("acme", "bolt"))))
    return out


def live(draw: random.Random, rows: dict[tuple[str, int], list[Row]], panes: int) -> tuple[Messages, list[Incident]]:
    """The log of a live run in which sources fall silent for minutes, and every revision that run said.

    Gaps are written by the watch's clock.
    """
    outages = {
        source: range(begin, begin + draw.randint(5, 60))
        for source in draw.sample(SOURCES, draw.randint(1, 3))
        for begin in [draw.randint(1, panes - 70)]
    }
    upto = dict.fromkeys(SOURCES, -1)
    watch = SilenceWatch(SOURCES, MINUTE)
    operator = CorrelateOperator(SOURCES)
    log: Messages = []
    found: list[Incident] = []
    for now in range(panes):
        for source in draw.sample(SOURCES, len(SOURCES)):
            if (now not in outages.get(source, ()) and draw.random() < 0.7) or now == panes - 1:
                for number in range(upto[source] + 1, now + 1):
                    if rows[source, number] or number == now:
                        new = closed(source, number, *rows[source, number])
                        found += operator.read(new)
                        log += new
                upto[source] = now
        gaps = watch.notice(operator.closed, pane(now + 3))
        found += operator.read(gaps)
        log += gaps
    return log, found


def replayed(draw: random.Random, log: Messages) -> Messages:
    """The same messages without the gaps, the sources interleaved in another way."""
    queues = {s: [m for m in log if m.source == s and not isinstance(m, Gap)] for s in SOURCES}
    out: Messages = []
    while any(queues.values()):
        source = draw.choice([name for name in SOURCES if queues[name]])
        size = draw.choice((1, 10, 100))
        out += queues[source][:size]
        del queues[source][:size]
    return out


def run(log: Messages, size: int, restart: float = 0.0) -> list[Incident]:
    """Every revision; read in batches of `size`, and at a batch's end restarted from a snapshot with a chance."""
    operator, draw = CorrelateOperator(SOURCES), random.Random(size)
    found = []
    for begin in range(0, len(log), size):
        found += operator.read(log[begin : begin + size])
        if draw.random() < restart:
            blobs, operator = state.dump(operator), CorrelateOperator(SOURCES)
            state.load(operator, blobs)
    assert operator.held_rows == 0
    return found


def provisional_no_more(found: Sequence[Incident]) -> None:
    """What was said of a pane ahead is confirmed or withdrawn by the firm state of that pane or of a later one."""
    ahead: dict[str, int] = defaultdict(int)
    for incident in found:
        if incident.provisional:
            ahead[incident.incident_id] = max(ahead[incident.incident_id], incident.updated_at)
        elif incident.revision % (LAST_STEP + 1) >= FOLLOWS and incident.kind != "telemetry_gap":
            stands_at = (incident.revision // (LAST_STEP + 1)) * MICROS + PANE
            assert stands_at >= ahead.pop(incident.incident_id)


def by_id(found: Sequence[Incident]) -> dict[str, list[Incident]]:
    out = defaultdict(list)
    for incident in found:
        out[incident.incident_id].append(incident)
    return out


def newest(found: Sequence[Incident]) -> dict[str, Incident]:
    """Incident id -> the revision that wins; numbers never go back and never come twice."""
    out: dict[str, Incident] = {}
    for incident in found:
        before = out.get(incident.incident_id)
        assert before is None or before.revision < incident.revision, (before, incident)
        out[incident.incident_id] = incident
    return out


def bare(found: dict[str, Incident]) -> dict[str, str]:
    """What stands at the end, without revision numbers: those differ, since more was said on the way."""
    return {
        name: incident.model_copy(update={"revision": 0}).model_dump_json()
        for name, incident in found.items()
        if incident.kind != "telemetry_gap" and incident.status != "withdrawn"
    }


@pytest.mark.fault("F31")
def test_an_outage_with_its_gap_records_ends_as_a_replay_without_them() -> None:
    seen: Counter[str] = Counter()
    for seed in range(25):
        draw = random.Random(f"outage {seed}")
        panes = 130
        rows: dict[tuple[str, int], list[Row]] = defaultdict(list)
        for source in SOURCES:
            for number in range(panes - 1):
                rows[source, number] = random_rows(draw, source, number)
        log, found = live(draw, rows, panes)
        assert by_id(found) == by_id(run(log, draw.choice((10, 1000, 10_000)))), f"seed {seed}: batches matter"
        assert by_id(found) == by_id(run(log, 5, restart=0.05)), f"seed {seed}: restarts matter"
        provisional_no_more(found)
        at_the_end, replay = newest(found), newest(run(replayed(draw, log), draw.choice((1, 7, 1000))))
        assert not [incident for incident in at_the_end.values() if incident.provisional], seed
        assert bare(at_the_end) == bare(replay), seed
        assert not [i for i in replay.values() if i.provisional or i.status == "withdrawn" or i.kind == "telemetry_gap"]
        gaps = [incident for incident in at_the_end.values() if incident.kind == "telemetry_gap"]
        assert {incident.status for incident in gaps} <= {"resolved"}, seed
        withdrawn = {name for name, incident in at_the_end.items() if incident.status == "withdrawn"}
        assert not withdrawn & replay.keys(), seed
        provisional = {incident.incident_id for incident in found if incident.provisional}
        seen.update(gaps=len(gaps), withdrawn=len(withdrawn), confirmed=len(provisional - withdrawn))
    assert min(seen["gaps"], seen["withdrawn"], seen["confirmed"]) > 10, seen


def test_a_verdict_is_less_sure_while_a_source_that_tells_of_changes_is_silent() -> None:
    operator = CorrelateOperator(SOURCES)
    operator.read([*closed(TRACES, 0, action(0, "a")), *closed(EVENTS, 0), *closed(OTHER, 0)])
    ahead = operator.read([gap(OTHER, 0), *closed(TRACES, 9), *closed(EVENTS, 9, symptom(9, "x"))])
    (early,) = failures(ahead)
    (firm,) = failures(operator.read(closed(OTHER, 9)))
    assert (early.provisional, firm.provisional) == (True, False)
    assert early.attribution.verdict == firm.attribution.verdict == "agent"
    assert early.attribution.probability < firm.attribution.probability
    silent = "Another cause may not be in sight"
    assert (silent in early.summary, silent in firm.summary) == (True, False)


def test_open_incidents_are_counted_while_they_are_open() -> None:
    loop = [
        span(
            2 * number,
            span_id=f"s-{number}",
            tool_name="write_hook",
            tool_args='{"hook": "wp_head"}',
            access="write",
            target="site-12/wordpress/hook/wp_head",
        )
        for number in range(30)
    ]
    assert replay(loop).correlate.open_incidents == 1
    assert replay(loop, settle=SETTLE).correlate.open_incidents == 0
