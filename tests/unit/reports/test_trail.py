"""The trail of a change: each link with its reference, and each missing one named."""

from datetime import UTC, datetime
from typing import Any

from reports.trail import CANNOT_TELL, MISSING, links_of, render


def row(link: str, minute: int, shows: str, **fields: Any) -> dict[str, Any]:
    given = {
        "link": link, "at": datetime(2026, 3, 2, 14, minute, tzinfo=UTC), "who": "", "shows": shows, "resource": "",
        "topic": "agent.traces.v1", "partition": 2, "offset": minute, "id": f"{link}-{minute}",
    }  # fmt: skip
    return given | fields


CART = "prod-eu/checkout/deployment/cart"
WHOLE = [
    row("asked", 1, "rightsizing", who="user:ines"),
    row("read", 2, "docs.read", resource="prod-eu/checkout/document/sizing"),
    row("read", 3, "metrics.query", resource=CART),
    row("read", 4, "metrics.query", resource=CART),
    row("believed", 5, "cart is short of replicas", who="capacity-agent"),
    row("decided", 6, "scale out", who="capacity-agent"),
    row("approval", 7, "granted", who="user:mo"),
    row("called", 8, 'kubernetes.scale {"replicas":24} -> ok', who="capacity-agent", resource=CART),
    row("effect", 9, "scale 6 -> 24", who="deployment-controller", topic="cluster.events.v1"),
    row("watched", 12, "regressed: cart failed 3 min after: BackOff", who="capacity-agent"),
    row("followed", 12, "BackOff: restarting", who="45613216", resource="prod-eu/checkout/pod/a"),
    row("followed", 12, "cart failed", who="45613216", topic="", id="opened"),
    row("followed", 13, "BackOff x2: restarting", who="45613216", resource="prod-eu/checkout/pod/b"),
]


def test_every_link_says_what_when_and_where_that_stands() -> None:
    assert render("4a92c53bed9a69c0", links_of(WHOLE)).splitlines() == [
        "prod-eu/checkout/deployment/cart · 4a92c53bed9a69c0 · 2026-03-02, UTC",
        "",
        "  Asked      14:01:00  by user:ines, for rightsizing  [agent.traces.v1/2@1]",
        "  Read       3 reads:",
        "             14:02:00  docs.read sizing  [agent.traces.v1/2@2]",
        "             14:04:00  metrics.query cart (2 times, last)  [agent.traces.v1/2@4]",
        "  Believed   14:05:00  cart is short of replicas  [agent.traces.v1/2@5]",
        "  Decided    14:06:00  scale out  [agent.traces.v1/2@6]",
        "  Approval   14:07:00  granted by user:mo  [agent.traces.v1/2@7]",
        "  Called     14:08:00  capacity-agent: kubernetes.scale (replicas 24) -> ok  [agent.traces.v1/2@8]",
        "  Effect     14:09:00  scale 6 -> 24 (by deployment-controller)  [cluster.events.v1/2@9]",
        "  Watched    14:12:00  regressed: cart failed 3 min after: BackOff  [agent.traces.v1/2@12]",
        "  Followed   14:12:00  BackOff: restarting (2 times on 2 resources)  [agent.traces.v1/2@12]",
        "             14:12:00  cart failed [incident 45613216]  [opened]",
    ]


def test_every_missing_link_is_named() -> None:
    for name, missing in MISSING.items():
        links = links_of(item for item in WHOLE if item["link"] != name)
        said = " ".join(render("4a92c53bed9a69c0", links, 200).split())
        assert f"{name.capitalize()} — {missing}" in said
        assert said.count("—") == 1
    nothing = render("x", [])
    assert nothing.startswith("a change that names no target · x\n")
    assert nothing.count("—") == len(MISSING)


def test_that_no_effect_was_told_of_decides_nothing_where_the_source_is_silent() -> None:
    links = links_of(item for item in WHOLE if item["link"] != "effect")
    said = " ".join(render("4a92c53bed9a69c0", links, 200, is_told=False).split())
    assert f"Effect — {CANNOT_TELL}" in said
    assert "Effect 14:09:00 scale 6 -> 24" in " ".join(render("4a92c53bed9a69c0", links_of(WHOLE), 200).split())


def test_of_many_reads_the_last_ones_are_shown_and_all_are_counted() -> None:
    reads = [row("read", minute, "docs.read", resource=f"a/b/document/{minute}") for minute in range(20)]
    said = render("x", links_of(reads))
    assert "20 reads, of 12 earlier targets and of these:" in said
    assert "docs.read 19" in said
    assert "docs.read 11" not in said


def test_what_an_agent_wrote_cannot_move_the_cursor() -> None:
    said = render("x", links_of([row("believed", 1, "\x1b[2J\x1b]0;owned\x07 all is well\r\n")]))
    assert "\x1b" not in said
    assert "\r" not in said
