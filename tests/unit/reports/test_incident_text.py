"""An incident as a person reads it at 3 a.m.: what broke in few words, what is still off, what decided, what to do."""

from typing import Any

import pytest

from alerts.rules import sample_incident
from pipeline.core.jumps import amount
from reports.broken import failed, still_off
from reports.incident import render
from reports.incident_timeline import rows_of
from reports.table import incident_list
from schemas.incidents import Attribution, BlastResource, Candidate, Evidence, Incident
from tests.builders import at

SHOP = "prod/shop"


def hit(kind: str, name: str, state: Any = "off", last: float | None = 0) -> BlastResource:
    moment = None if last is None else at(last)
    return BlastResource(resource=f"{SHOP}/{kind}/{name}", distance=0, state=state, last_at=moment)


def pods(owner: str, number: int, last: float = 60) -> list[BlastResource]:
    return [hit("pod", f"{owner}-6996dd565b-{n:05d}", "warned", last) for n in range(number)]


def evidence(seconds: float, type_: Any, shows: str, name: str = "cart") -> Evidence:
    return Evidence(
        type=type_, topic="t", partition=0, offset=0, event_id=f"{shows}-{seconds}", event_time=at(seconds),
        resource=f"{SHOP}/deployment/{name}", shows=shows,
    )  # fmt: skip


def incident(*hit: BlastResource, verdict: Any = "infrastructure", **fields: Any) -> Incident:
    given = {
        "status": "open", "started_at": at(0), "detected_at": at(30), "blast_radius": hit, "agent_id": None,
        "resolved_at": None, "attribution": Attribution(verdict=verdict, probability=0.9),
    }  # fmt: skip
    return sample_incident({}).model_copy(update=given | fields)


def block(text: str, label: str) -> list[str]:
    """The texts of one label, each on one line."""
    lines = text.partition("\n\n")[2].partition("\n\n")[0].splitlines()
    found = []
    for line in lines:
        if line.startswith(f"  {label} "):
            found = [line[16:]]
        elif found and line.startswith(" " * 18):
            found[-1] += f" {line.strip()}"
        elif found and line.startswith(" " * 16):
            found.append(line[16:])
        elif found:
            break
    return found


def test_pods_are_counted_under_what_owns_them() -> None:
    found = failed(
        [hit("deployment", "cart"), hit("statefulset", "cart-db"), *pods("cart", 6), hit("pod", "cart-db-0")]
    )
    assert found == ["deployment/cart with 6 pods", "statefulset/cart-db with 1 pod"]
    assert failed(pods("cart", 2)) == ["2 pods of cart"]
    assert failed(pods("cart", 1)) == ["pod/cart-6996dd565b-00000"]
    elsewhere = BlastResource(resource="prod/other/pod/cart-6996dd565b-00000", distance=1)
    assert failed([hit("deployment", "cart"), elsewhere]) == ["deployment/cart", "pod/cart-6996dd565b-00000"]


def test_what_is_still_off_is_told_and_what_is_back_is_named_behind_it() -> None:
    found = still_off(
        [hit("deployment", "cart"), *pods("cart", 2), hit("service", "web", "back"), hit("job", "j", "silent")]
    )
    assert found == [
        "deployment/cart with 2 pods: metrics off, last warning of its pods 14:01:00",
        "job/j: was off when its metrics fell silent",
        "no longer: service/web",
    ]
    assert still_off([hit("service", "web", "back")]) == []
    assert still_off([hit("deployment", "cart", "back"), *pods("cart", 1)]) == [
        "deployment/cart with 1 pod: back to usual, last warning of its pods 14:01:00"
    ]


def test_only_while_it_is_open_something_is_said_to_be_off_and_the_commands_of_now_are_given() -> None:
    burning = render(incident(hit("deployment", "cart"), verdict="agent", agent_id="capacity"))
    assert block(burning, "Still off") == ["deployment/cart: metrics off"]
    assert any("control pause capacity" in line for line in block(burning, "Do first"))
    well = incident(hit("deployment", "cart", "back"))
    assert block(render(well), "Still off") == ["nothing that is measured; it is over when it stays quiet"]
    over = render(incident(hit("deployment", "cart"), status="resolved", resolved_at=at(900)))
    assert block(over, "Still off") == []
    assert "aftermath incidents ack" not in over


def test_what_failed_first_is_what_to_look_at_where_nobody_did_it() -> None:
    seen = (
        evidence(20, "symptom", "BackOff: restarting"),
        evidence(10, "symptom", "latency of web rose to 2 s", "web"),
    )
    text = render(incident(hit("deployment", "cart"), evidence=seen))
    assert block(text, "Do first")[0] == "look at deployment/web, which failed first: latency of web rose to 2 s"
    node = render(incident(hit("node", "n-7"), evidence=seen))
    assert block(node, "Do first")[0] == "look at node n-7: what runs on it failed with it"


def test_undetermined_says_how_likely_it_is_that_nothing_of_it_was_seen_and_names_the_likeliest() -> None:
    candidate = Candidate(
        kind="deploy", resource=f"{SHOP}/deployment/cart", event_id="d", event_time=at(-60), probability=0.6, factors={},
        shows="deploy of deployment/cart by user:mo",
    )  # fmt: skip
    told = Attribution(verdict="undetermined", probability=0.4, ranked=(candidate,))
    text = render(incident(hit("deployment", "cart"), attribution=told))
    assert "40% that it is none of what was seen" in " ".join(block(text, "Cause"))
    assert block(text, "Also likely") == ["60% deploy of deployment/cart by user:mo at 13:59:00"]
    assert "deploy of deployment/cart by user:mo" in " ".join(block(text, "Do first"))


def test_undetermined_without_a_candidate_says_so_and_no_number() -> None:
    told = Attribution(verdict="undetermined", probability=0.38, ranked=(), unseen=("no agents' traces ever came",))
    found = incident(hit("deployment", "cart"), attribution=told)
    assert block(render(found), "Cause") == [
        "undetermined: no change was seen that could explain it",
        "no agents' traces ever came",
    ]
    assert "undetermined\n" in incident_list([found], 100).plain


def test_an_undo_names_what_the_cluster_says_it_was_before() -> None:
    candidate = Candidate(
        kind="agent_action", resource=f"{SHOP}/deployment/cart", span_id="s", event_time=at(-60), probability=0.9,
        factors={}, shows="kubernetes.scale on deployment/cart",
    )  # fmt: skip
    told = Attribution(verdict="agent", probability=0.9, ranked=(candidate,))
    changed = evidence(-58, "change", "scale of deployment/cart 6 -> 24")
    text = render(incident(hit("deployment", "cart"), attribution=told, agent_id="capacity", evidence=(changed,)))
    assert "(the cluster says: scale of deployment/cart 6 -> 24)" in " ".join(block(text, "Do first"))


@pytest.mark.parametrize(
    ("more", "decisive"),
    [
        pytest.param((), ["latency of cart rose to 2 s"], id="what was seen last before it was opened"),
        pytest.param((evidence(-60, "change", "deploy of cart"),), ["deploy of cart"], id="what is responsible"),
    ],
)
def test_the_row_that_decided_is_marked(more: tuple[Evidence, ...], decisive: list[str]) -> None:
    seen = (
        evidence(-90, "fact", "flag on"), evidence(0, "symptom", "Unhealthy: probe"),
        evidence(25, "symptom", "latency of cart rose to 2 s"), evidence(40, "symptom", "BackOff: restarting"),
    )  # fmt: skip
    rows = rows_of(incident(hit("deployment", "cart"), evidence=(*seen, *more)))
    assert [row.shows for row in rows if row.is_decisive] == decisive


def test_series_of_one_metric_are_one_row_and_so_are_the_same_warnings_of_many() -> None:
    seen = (
        evidence(0, "symptom", "latency of cart rose to 2 s, usually 1 s"),
        evidence(0, "symptom", "latency of cart rose to 3 s, usually 1 s"),
        evidence(50, "symptom", "latency of cart is back to 1 s"),
        evidence(5, "symptom", "BackOff: restarting", "a"), evidence(9, "symptom", "BackOff x3: restarting", "b"),
    )  # fmt: skip
    rows = rows_of(incident(hit("deployment", "cart"), evidence=seen))
    assert [(row.shows, row.until) for row in rows] == [
        ("latency of cart rose to 2 s, usually 1 s (2 series)", None),
        ("BackOff on 2 resources: restarting", at(9)),
        ("latency of cart is back to 1 s", None),
    ]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (3.713e9, "By", "3.713 GB"), (512.0, "By", "512 B"), (500.0, "{connection}", "500 connections"),
        (1.0, "{request}", "1 request"), (0.12, "s", "0.12 s"), (99.93, "%", "99.93 %"), (1250.0, "ms", "1250 ms"),
        (0.25, "1", "0.25"), (0.25, None, "0.25"), (12_340.0, None, "12.34 k"), (-2.5e6, "{byte}", "-2.5 M bytes"),
        (9213.0, "{query}/s", "9213 query/s"), (0.0, "By", "0 B"),
    ],
)  # fmt: skip
def test_an_amount_reads_as_a_person_says_it(value: float, unit: str | None, text: str) -> None:
    assert amount(value, unit) == text
