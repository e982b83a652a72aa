"""The webhook against a server on this machine that answers as it is told and records what it got."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from alerts.outbox import Notification, Outbox
from alerts.page import Pages
from alerts.receivers import Delivery, Receiver, ReceiverConfig, build
from alerts.rules import SHIPPED, load_rules, sample_incident
from schemas.errors import ConfigurationError
from schemas.times import parse_time

NOW = parse_time("2026-03-02T10:00:30Z")
KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
RULES = load_rules(SHIPPED)
INCIDENT = sample_incident({"incident_id": "i1", "kind": "agent_caused_failure", "severity": "critical"})
PATH = "/services/T0/very-secret-path"


def _notification() -> Notification:
    return Outbox(RULES).decide(INCIDENT)[0]


class Peer:
    """Answers with `status` and `headers`; keeps every request."""

    def __init__(self) -> None:
        self.status = 204
        self.headers: dict[str, str] = {}
        self.silence: asyncio.Event | None = None
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append((request.path, dict(request.headers), await request.read()))
        if self.silence is not None:
            await self.silence.wait()
        return web.Response(status=self.status, headers=self.headers, text=f"no {request.path} {SECRET}")


@pytest.fixture
async def peer() -> AsyncIterator[tuple[Peer, str]]:
    found = Peer()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", found.answer)
    async with TestServer(app, host="127.0.0.1") as server:
        yield found, str(server.make_url(PATH))


def _hook(url: str, **changes: Any) -> Receiver:
    config = ReceiverConfig(**{"kind": "webhook", "url": url, "allow_private": True, "secret": SECRET} | changes)
    return build({"hook": config}, now=lambda: NOW, pages=Pages(RULES))["hook"]


async def _send(url: str, **changes: Any) -> Delivery:
    return await _hook(url, **changes).send(_notification(), INCIDENT)


async def test_a_page_arrives_signed(peer: tuple[Peer, str]) -> None:
    server, url = peer
    delivery = await _send(url)
    assert delivery.ok, delivery
    ((path, headers, body),) = server.requests
    assert path == PATH
    assert headers["Content-Type"] == "application/json"
    assert headers["webhook-id"] == _notification().dedup_key
    assert headers["webhook-timestamp"] == "1772445630"
    signed = f"{headers['webhook-id']}.1772445630.".encode() + body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    found = json.loads(body)
    assert found["type"] == "incident.firing"
    assert found["data"]["incident"]["incident_id"] == "i1"
    assert found["data"]["notification"]["rule"] == "agent_caused_failure"


def test_the_signature_is_that_of_the_specification() -> None:
    # the example of the Standard Webhooks specification and its reference libraries
    from alerts.receivers.signature import headers, parse_secret

    key = parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "hook")
    found = headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', key)
    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_every_attempt_has_the_same_id_and_body(peer: tuple[Peer, str]) -> None:
    server, url = peer
    hook = _hook(url)
    await hook.send(_notification(), INCIDENT)
    await hook.send(_notification(), INCIDENT)
    assert server.requests[0][2] == server.requests[1][2]
    assert len({headers["webhook-id"] for _, headers, _ in server.requests}) == 1


async def test_without_a_secret_nothing_is_signed(peer: tuple[Peer, str]) -> None:
    server, url = peer
    assert (await _send(url, secret=None)).ok
    assert "webhook-signature" not in server.requests[0][1]


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_any_2xx_is_delivered(peer: tuple[Peer, str], status: int) -> None:
    server, url = peer
    server.status = status
    assert (await _send(url)).ok


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_a_busy_or_broken_receiver_is_tried_again(peer: tuple[Peer, str], status: int) -> None:
    server, url = peer
    server.status = status
    delivery = await _send(url)
    assert (delivery.ok, delivery.is_transient, delivery.retry_after) == (False, True, None)
    assert delivery.detail.startswith(f"HTTP {status} from 127.0.0.1:")


async def test_the_time_a_busy_receiver_names_is_kept(peer: tuple[Peer, str]) -> None:
    server, url = peer
    server.status, server.headers = 429, {"Retry-After": "17"}
    assert (await _send(url)).retry_after == 17.0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413])
async def test_a_refusal_is_final(peer: tuple[Peer, str], status: int) -> None:
    server, url = peer
    server.status = status
    delivery = await _send(url)
    assert (delivery.ok, delivery.is_transient) == (False, False)
    assert f"HTTP {status}" in delivery.detail


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(peer: tuple[Peer, str], status: int) -> None:
    server, url = peer
    server.status, server.headers = status, {"Location": "/elsewhere"}
    delivery = await _send(url)
    assert (delivery.ok, delivery.is_transient) == (False, False)
    assert "redirects are not followed" in delivery.detail
    assert [path for path, _, _ in server.requests] == [PATH]


async def test_a_receiver_that_says_nothing_is_left_after_the_time_out(peer: tuple[Peer, str]) -> None:
    server, url = peer
    server.silence = asyncio.Event()
    delivery = await _send(url, timeout_seconds=0.2)
    server.silence.set()
    assert (delivery.ok, delivery.is_transient) == (False, True)
    assert delivery.detail.endswith("no answer within 0.2 s")


async def test_a_receiver_that_is_not_there_is_tried_again(unused_tcp_port: int) -> None:
    delivery = await _send(f"http://127.0.0.1:{unused_tcp_port}{PATH}")
    assert (delivery.ok, delivery.is_transient) == (False, True)
    assert delivery.detail == f"127.0.0.1:{unused_tcp_port}: not reachable (Connection refused)"


async def test_a_receiver_that_hangs_up_is_tried_again() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        delivery = await _send(f"http://127.0.0.1:{port}/")
    assert (delivery.ok, delivery.is_transient) == (False, True)


async def test_tls_to_a_plain_server_is_a_failed_delivery(peer: tuple[Peer, str]) -> None:
    _, url = peer
    delivery = await _send(url.replace("http:", "https:"))
    assert (delivery.ok, delivery.is_transient) == (False, True)


async def test_a_name_that_leads_inside_is_refused_unless_allowed(peer: tuple[Peer, str]) -> None:
    server, url = peer
    url = url.replace("127.0.0.1", "localhost")
    delivery = await _send(url, allow_private=False)
    assert (delivery.ok, delivery.is_transient) == (False, False)
    assert "is the private address" in delivery.detail
    assert "set allow_private" in delivery.detail
    assert server.requests == []
    assert (await _send(url)).ok


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/", "http://[::1]:9/", "https://169.254.169.254/latest", "http://[::ffff:10.0.0.1]/"],
)
def test_a_private_address_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ConfigurationError, match="private address; set allow_private"):
        _hook(url, allow_private=False)


@pytest.mark.parametrize("url", ["", "/path", "ftp://example.com/", "https://", "http://example.com:99999/", "hooks"])
def test_what_is_no_address_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ConfigurationError, match="receiver hook: the url"):
        _hook(url)


@pytest.mark.parametrize(
    "secret", ["hunter2-hunter2-hunter2-hunter2", "whsec_!!", "whsec_c2hvcnQ=", "whsec_" + "A" * 400]
)
def test_a_weak_or_wrong_secret_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="24 to 64 random bytes") as raised:
        _hook("https://example.com/", secret=secret)
    assert secret not in str(raised.value)


async def test_no_text_we_keep_or_show_has_the_path_or_the_secret(peer: tuple[Peer, str]) -> None:
    server, url = peer
    texts = [repr(_hook(url)), repr(ReceiverConfig(kind="webhook", url=url, secret=SECRET))]
    for status in (200, 302, 404, 500):
        server.status = status
        texts.append((await _send(url)).detail)
    texts.append((await _send(url, allow_private=True, timeout_seconds=0.000001)).detail)
    with pytest.raises(ValueError, match="max_bytes") as raised:
        ReceiverConfig(kind="webhook", url=url, secret=SECRET, max_bytes=1)
    texts.append(str(raised.value))
    for text in texts:
        assert "very-secret-path" not in text
        assert SECRET not in text
