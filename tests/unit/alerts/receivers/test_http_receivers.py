"""What every receiver that speaks HTTP promises, against servers that speak each one's protocol."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from alerts.receivers import Receiver, ReceiverConfig, build
from schemas.errors import ConfigurationError
from tests.unit.alerts.receivers import peers
from tests.unit.alerts.receivers.peers import Peer, Plan, serving
from tests.unit.alerts.receivers.telling import INCIDENT, NOW, OVER, PAGES, WORST, firing, others, resolved


def receiver(peer: Peer, url: str, **changes: Any) -> Receiver:
    config = {"kind": peer.kind, "url": url, "allow_private": True, "timeout_seconds": 5, **peer.config, **changes}
    return build({"there": ReceiverConfig.model_validate(config)}, now=lambda: NOW, pages=PAGES)["there"]


each = pytest.mark.parametrize("kind", peers.ALL, ids=lambda kind: kind.__name__)


@each
async def test_a_beginning_and_its_end_are_taken_and_end_as_one(kind: type[Peer]) -> None:
    peer = kind()
    async with serving(peer) as url:
        there = receiver(peer, url)
        first = await there.send(firing(), INCIDENT)
        assert first.ok, first
        again = await there.send(firing(), INCIDENT)
        assert again.ok
        last = await there.send(resolved(first.reference), OVER)
        assert last.ok, last
    match peer:
        case peers.PagerDuty():
            assert list(peer.shown.values()) == [
                {
                    "status": "resolved",
                    "summary": PAGES.of(firing(), INCIDENT).title,
                }
            ]
        case peers.Opsgenie():
            assert list(peer.shown.values()) == [{"count": 2, "status": "closed"}]
        case peers.Alertmanager():
            (alert,) = peer.shown.values()
            assert (alert["startsAt"], alert["endsAt"]) == ("2026-03-02T10:03:00Z", "2026-03-02T10:04:00Z")
            assert peer.bodies[0][0]["endsAt"] == "2026-03-02T10:08:00Z"
        case peers.SlackBot():
            assert [path for path, _, _ in peer.requests] == ["/chat.postMessage", "/chat.postMessage", "/chat.update"]
            assert [message["text"].split(":")[0] for message in peer.shown.values()] == [
                "PAGE critical RESOLVED",
                "PAGE critical FIRING",
            ]
        case peers.SlackHook():
            assert len(peer.shown) == 3


@each
async def test_the_worst_incident_is_taken_and_no_larger_than_configured(kind: type[Peer]) -> None:
    peer = kind()
    async with serving(peer) as url:
        delivery = await receiver(peer, url, max_bytes=16_000).send(firing(WORST), WORST, others(9))
    assert delivery.ok, delivery
    ((_, headers, body),) = peer.requests
    assert int(headers["Content-Length"]) <= 16_000 * (10 if isinstance(peer, peers.Alertmanager) else 1)
    assert "…" in str(body)
    assert "<!channel>" not in str(body) or not isinstance(peer, peers.SlackHook | peers.SlackBot)
    assert "\x1b" not in str(body)


@each
@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
async def test_a_busy_or_broken_service_is_tried_again(kind: type[Peer], status: int) -> None:
    peer = kind()
    peer.plan = Plan(status, {"Retry-After": "170"})
    async with serving(peer) as url:
        delivery = await receiver(peer, url).send(firing(), INCIDENT)
    assert (delivery.ok, delivery.is_transient, delivery.retry_after) == (False, True, 170.0)


@each
@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 410])
async def test_a_refusal_is_final_and_nothing_secret_is_kept(kind: type[Peer], status: int) -> None:
    peer = kind()
    peer.plan = Plan(status, {"Location": "/elsewhere"})
    async with serving(peer) as url:
        there = receiver(peer, url)
        delivery = await there.send(firing(), INCIDENT)
    assert (delivery.ok, delivery.is_transient) == (False, False)
    assert f"HTTP {status}" in delivery.detail
    assert peers.KEY not in delivery.detail + repr(there)
    assert len(peer.requests) == 1


@each
async def test_a_service_that_says_nothing_is_left_after_the_time_out(kind: type[Peer]) -> None:
    peer = kind()
    peer.plan = Plan(None)
    async with serving(peer) as url:
        delivery = await receiver(peer, url, timeout_seconds=0.1).send(firing(), INCIDENT)
        peer.plan.release.set()
        await asyncio.sleep(0)
    assert (delivery.ok, delivery.is_transient) == (False, True)
    assert delivery.detail.endswith("no answer within 0.1 s")


@each
def test_an_address_inside_is_refused_unless_allowed(kind: type[Peer]) -> None:
    with pytest.raises(ConfigurationError, match="is a private address"):
        receiver(kind(), "http://10.0.0.1/", allow_private=False)


async def test_pagerduty_is_not_asked_again_within_a_minute_of_a_429() -> None:
    peer = peers.PagerDuty()
    peer.plan = Plan(429)
    async with serving(peer) as url:
        delivery = await receiver(peer, url).send(firing(), INCIDENT)
    assert delivery.retry_after == 60.0


@pytest.mark.parametrize(
    ("error", "is_transient"),
    [("ratelimited", True), ("internal_error", True), ("invalid_auth", False), ("<secret>", False)],
)
async def test_what_slack_says_inside_an_answer_of_200_is_judged(error: str, is_transient: bool) -> None:
    peer = peers.SlackBot()
    peer.error = error
    async with serving(peer) as url:
        delivery = await receiver(peer, url).send(firing(), INCIDENT)
    assert (delivery.ok, delivery.is_transient) == (False, is_transient)
    assert delivery.detail.endswith("unknown_error" if "<" in error else error)


async def test_a_message_of_slack_that_is_gone_is_posted_anew() -> None:
    peer = peers.SlackBot()
    async with serving(peer) as url:
        delivery = await receiver(peer, url).send(resolved("C0123456789:1.000001"), OVER)
    assert delivery.ok
    assert [path for path, _, _ in peer.requests] == ["/chat.update", "/chat.postMessage"]


async def test_every_member_of_an_alertmanager_is_told_and_one_is_enough() -> None:
    first, second = peers.Alertmanager(), peers.Alertmanager()
    async with serving(first) as one, serving(second) as two:
        there = receiver(first, f"{one}, {two}")
        assert (await there.send(firing(), INCIDENT, others(2))).ok
        assert len(first.shown) == len(second.shown) == 3
        second.plan = Plan(503)
        delivery = await there.send(firing(), INCIDENT)
        assert (delivery.ok, delivery.detail.endswith("; 1 of 2 did not")) == (True, True)
        first.plan = Plan(400)
        delivery = await there.send(firing(), INCIDENT)
        assert (delivery.ok, delivery.is_transient) == (False, True)


@pytest.mark.parametrize("kind", [peers.PagerDuty, peers.SlackBot])
async def test_what_can_be_renewed_is_changed_where_it_stands(kind: type[Peer]) -> None:
    peer = kind()
    async with serving(peer) as url:
        there = receiver(peer, url)
        assert there.can_renew
        first = await there.send(firing(), INCIDENT)
        renewed = replace(firing(), title="it was another agent", reference=first.reference)
        assert (await there.send(renewed, INCIDENT)).ok
    (shown,) = peer.shown.values()
    assert "it was another agent" in str(shown)
