"""Who did it, on generated failures with a known cause (tests/causes/failures.py), beside two simple rules.

    python -m bench.quality_causes [--seeds 10000..12099] [--json]

Each case is a tenant of its own, all in one backtest. Per family: how often the verdict is right, the share left
undetermined, the share that blames the wrong one, and the Brier score: the squared distance from the truth of the
probabilities of all candidates and of "nothing we saw" (0 is perfect, 2 is sure and wrong). Calibration error: of what
is said with probability p, a share p should be so; the mean distance over ten bins.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.quality_corpus import run
from schemas.incidents import Candidate, Incident
from tests.causes.failures import FAMILIES, LEFT_OUT, REPORTING, SETTING, Failure, failure
from tests.causes.telling import Event

BINS = 10
CHANGES = ("deploy", "scale", "config", "flag", "quota")
ACTING = ("write", "destructive", "provision")
NOTHING = ""  # the outcome "nothing we saw"
Chances = dict[str, float]


@dataclass(slots=True)
class Score:
    """Sums over the cases of one family."""

    cases: int = 0
    no_incident: int = 0
    right: int = 0
    undetermined: int = 0
    wrong: int = 0
    first: int = 0  # a true cause is ranked first
    with_cause: int = 0
    brier: float = 0.0
    last_change: float = 0.0
    agent_write: float = 0.0
    said: list[tuple[float, bool]] = field(default_factory=list)  # (probability, whether it is right) of verdicts


def measure(cases: Iterable[Failure]) -> dict[str, Score]:
    """Family -> score."""
    cases = list(cases)
    return scores_of(cases, incidents_of(cases))


def scores_of(cases: Iterable[Failure], found: Mapping[str, Sequence[Incident]]) -> dict[str, Score]:
    """Family -> score, of what was found in the cases; `found` is by tenant."""
    scores: dict[str, Score] = {}
    for case in cases:
        add(case, found.get(case.tenant, []), scores.setdefault(case.family, Score()))
    return scores


def incidents_of(cases: Iterable[Failure]) -> dict[str, list[Incident]]:
    """Tenant -> its incidents about something that failed, all cases in one backtest."""
    outcomes = run(
        sorted((e for case in cases for e in case.events), key=lambda e: (e["ingest_time"], e["event_time"]))
    )
    by_tenant: dict[str, list[Incident]] = defaultdict(list)
    for incident in outcomes.incidents:
        if incident.blast_radius:
            by_tenant[incident.tenant].append(incident)
    return by_tenant


def nearest(case: Failure, incidents: Iterable[Incident]) -> Incident:
    """Of several incidents the one that began nearest to the failure."""
    return min(incidents, key=lambda found: (abs(found.started_at - case.failed_at), found.incident_id))


def add(case: Failure, incidents: Sequence[Incident], score: Score) -> None:
    """One case."""
    score.cases += 1
    if not incidents:
        score.no_incident += 1
        return
    incident = nearest(case, incidents)
    attribution = incident.attribution
    chances: Chances = {}
    for candidate in attribution.ranked:
        chances[name_of(candidate)] = chances.get(name_of(candidate), 0.0) + candidate.probability
    chances[NOTHING] = max(0.0, 1 - sum(chances.values()))
    truth = case.causes or {NOTHING}
    score.brier += brier(chances, truth)
    score.last_change += brier({last_change(case.events, incident.started_at): 1.0}, truth)
    score.agent_write += brier({agent_write(case.events, incident): 1.0}, truth)
    if case.causes:
        score.with_cause += 1
        score.first += bool(attribution.ranked) and name_of(attribution.ranked[0]) in truth
    verdict = attribution.verdict
    blames_right = not attribution.ranked or name_of(attribution.ranked[0]) in truth
    is_right = verdict == case.verdict and (verdict == "infrastructure" or blames_right)
    if verdict == "undetermined":
        score.undetermined += 1
        return
    score.right += is_right
    score.wrong += not is_right
    score.said.append((attribution.probability, is_right))


def name_of(candidate: Candidate) -> str:
    """The id of the span or event that shows it."""
    return candidate.span_id or candidate.event_id or NOTHING


def brier(chances: Chances, truth: Iterable[str]) -> float:
    """Two causes that are both true count as one outcome."""
    truth = set(truth)
    right = sum(chance for name, chance in chances.items() if name in truth)
    return float((1 - right) ** 2 + sum(chance**2 for name, chance in chances.items() if name not in truth))


def changes(events: Iterable[Event], before: int) -> list[tuple[int, str, Event]]:
    """What changed anything by then: when, its id, the event."""
    found = []
    for event in events:
        if event["type"] == "agent_span" and event.get("access") in ACTING and event["start_time"] <= before:
            found.append((event["start_time"], event["span_id"], event))
        elif event.get("kind") in CHANGES and event["event_time"] <= before and event.get("actor_kind") == "human":
            found.append((event["event_time"], event["event_id"], event))
    return sorted(found, key=lambda change: change[:2])


def last_change(events: Iterable[Event], began: int) -> str:
    """The rule "the last change did it"."""
    found = changes(events, began)
    return found[-1][1] if found else NOTHING


def agent_write(events: Iterable[Event], incident: Incident) -> str:
    """The rule "the agent's write that is nearest to what failed did it", of equals the last."""
    failed = {item.resource for item in incident.blast_radius}
    scopes = {"/".join(resource.split("/")[:2]) for resource in failed}
    ranked = [
        (event["target"] in failed, "/".join(event["target"].split("/")[:2]) in scopes, at, name)
        for at, name, event in changes(events, incident.started_at)
        if event["type"] == "agent_span"
    ]
    return max(ranked)[3] if ranked else NOTHING


def calibration_error(said: Iterable[tuple[float, bool]]) -> float:
    """Mean over all that was said of the distance between the probability and the share that is so, in bins."""
    bins: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for chance, is_so in said:
        bins[min(BINS - 1, int(chance * BINS))].append((chance, is_so))
    total = sum(map(len, bins.values()))
    return sum(abs(sum(c for c, _ in held) - sum(s for _, s in held)) for held in bins.values()) / max(1, total)


def pooled(scores: Iterable[Score]) -> Score:
    """All families as one."""
    total = Score()
    for score in scores:
        for name in Score.__slots__:
            setattr(total, name, getattr(total, name) + getattr(score, name))
    return total


def line(name: str, score: Score) -> str:
    """One row of the table."""
    told = max(1, score.cases - score.no_incident)
    first = f"{score.first / score.with_cause:6.0%}" if score.with_cause else f"{'-':>6}"
    return (
        f"{name:<20}{score.cases:>6}{score.no_incident:>8}{score.right / told:>8.0%}{score.undetermined / told:>9.0%}"
        f"{score.wrong / told:>8.0%} {first}{score.brier / told:>8.2f}{score.last_change / told:>9.2f}"
        f"{score.agent_write / told:>9.2f}{calibration_error(score.said):>8.3f}"
    )


def print_table(scores: dict[str, Score]) -> None:
    """A line a family, and all."""
    print(
        f"{'':<20}{'':>6}{'no':>8}{'':>8}{'undeter-':>9}{'':>8} {'cause':>6}{'':>8}{'last':>9}{'agent':>9}{'calib.':>8}"
    )
    print(
        f"{'family':<20}{'cases':>6}{'incident':>9}{'right':>7}{'mined':>9}{'wrong':>8} {'first':>6}{'Brier':>8}"
        f"{'change':>9}{'write':>9}{'error':>8}"
    )
    for family in FAMILIES:
        if family in scores:
            print(line(family + ("*" if family == LEFT_OUT else ""), scores[family]))
    print(line("all", pooled(scores.values())))
    print(f"\n* left out when the weights were set ({SETTING[0]}..{SETTING[-1]})")


def document(scores: dict[str, Score]) -> dict[str, Any]:
    """All of it as JSON."""
    return {
        name: {key: getattr(score, key) for key in Score.__slots__ if key != "said"}
        | {"calibration_error": calibration_error(score.said)}
        for name, score in (scores | {"all": pooled(scores.values())}).items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", default=f"{REPORTING[0]}..{REPORTING[-1]}", help="both ends included")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    args = parser.parse_args(arguments)
    first, _, last = args.seeds.partition("..")
    if not (first.isdecimal() and last.isdecimal()):
        print(f"bench.quality_causes: --seeds {args.seeds}: write two numbers, as in 10000..12099", file=sys.stderr)
        return 2
    scores = measure(map(failure, range(int(first), int(last) + 1)))
    if args.json:
        print(json.dumps(document(scores)))
    else:
        print_table(scores)
    return 0


if __name__ == "__main__":
    sys.exit(main())
