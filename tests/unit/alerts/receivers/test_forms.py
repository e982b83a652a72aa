"""What on-call reads, in the form of each receiver: golden files, to be read as a person who was woken.

UPDATE_GOLDEN=1 writes them anew. That of e-mail is held by test_email.py, because its body travels encoded.
"""

import io

import pytest

from alerts.page import Links
from alerts.receivers import ReceiverConfig, build
from tests.unit.alerts.receivers import peers
from tests.unit.alerts.receivers.peers import Peer, serving
from tests.unit.alerts.receivers.telling import GOLDEN, INCIDENT, NOW, OVER, PAGES, firing, golden, others, resolved


class Webhook(Peer):
    kind = "webhook"
    config = {}  # noqa: RUF012

    def answer(self, request: object, body: object, size: int) -> object:  # type: ignore[override]
        return peers.web.Response()


FORMS: dict[str, type[Peer]] = {
    "alertmanager": peers.Alertmanager,
    "opsgenie": peers.Opsgenie,
    "pagerduty": peers.PagerDuty,
    "slack": peers.SlackHook,
    "webhook": Webhook,
}


@pytest.mark.parametrize("name", FORMS)
async def test_a_form_is_as_it_was_read_and_agreed(name: str) -> None:
    peer = FORMS[name]()
    async with serving(peer) as url:
        config = {"kind": peer.kind, "url": url, "allow_private": True, **peer.config}
        there = build({"there": ReceiverConfig.model_validate(config)}, now=lambda: NOW, pages=PAGES)["there"]
        for told in ((firing(), INCIDENT), (resolved(), OVER)):
            delivery = await there.send(*told)
            assert delivery.ok, delivery
    for transition, body in zip(("firing", "resolved"), peer.bodies, strict=True):
        assert body == golden(f"{name}.{transition}.json", body)


async def test_the_console_is_as_it_was_read_and_agreed() -> None:
    stream = io.StringIO()
    there = build({"there": ReceiverConfig(kind="console")}, now=lambda: NOW, stream=stream, pages=PAGES)["there"]
    await there.send(firing(), INCIDENT)
    await there.send(firing(), INCIDENT, others())
    await there.send(resolved(), OVER)
    assert stream.getvalue() == golden("console.txt", stream.getvalue())


def test_every_form_says_what_on_call_needs_and_never_money() -> None:
    files = sorted(GOLDEN.glob("*.firing.*"))
    assert len(files) == len(FORMS) + 1
    for path in files:
        text = path.read_text(encoding="utf-8")
        for needed in (
            "cart-db and cart failed 3 min after capacity-agent",
            "critical",
            "93",
            "cart-db",
            "517",
            "9c0e5b7d1a2f4e38",
            "alerts/rules/README.md#agent_caused_failure",
        ):
            assert needed in text, f"{path.name} does not say {needed}"
        for money in ("$", "€", "USD", "dollar", "cost"):
            assert money not in text, f"{path.name} speaks of money"


def test_a_link_is_an_address() -> None:
    with pytest.raises(ValueError, match="write a whole address"):
        Links(page="javascript:alert(1)")
