"""A16: a webhook reaches no address inside, however it is written, and follows nobody there."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr

from alerts.receivers import ReceiverConfig, build
from alerts.receivers.receiver import Delivery
from alerts.rules.samples import sample_incident
from schemas.errors import ConfigurationError
from tests.abuse import payloads
from tests.abuse.pages import notification_of

LOCAL = ("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0")


class Inside(BaseHTTPRequestHandler):
    """A service that nobody outside may reach: it notes who did, and `/go` leads on to its other address."""

    hits: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.hits.append(self.path)
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/go":
            self.send_response(307)
            self.send_header("Location", f"http://{self.headers['Host']}/secret")
        else:
            self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Quiet."""


@pytest.fixture
def inside() -> Iterator[int]:
    Inside.hits.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Inside)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


async def deliver(url: str, *, allow_private: bool = False) -> Delivery | None:
    """What came of one page to this url; None where the configuration was refused at the start."""
    config = ReceiverConfig(kind="webhook", url=SecretStr(url), allow_private=allow_private, timeout_seconds=2)
    try:
        receiver = build({"hook": config}, now=lambda: 1_772_460_000_000_000)["hook"]
    except ConfigurationError:
        return None
    incident = sample_incident({})
    return await receiver.send(notification_of(incident), incident)


@pytest.mark.parametrize("host", payloads.addresses())
async def test_an_address_inside_is_refused_for_good_and_not_connected_to(inside: int, host: str) -> None:
    found = await deliver(f"http://{host}:{inside}/secret")
    assert found is None or not found.ok
    assert found is None or "secret" not in found.detail
    assert Inside.hits == []


async def test_where_private_addresses_are_allowed_the_page_arrives(inside: int) -> None:
    """The stub works, so the zero hits above mean something."""
    found = await deliver(f"http://127.0.0.1:{inside}/secret", allow_private=True)
    assert found is not None
    assert found.ok
    assert Inside.hits == ["/secret"]


async def test_a_redirect_is_not_followed(inside: int) -> None:
    found = await deliver(f"http://127.0.0.1:{inside}/go", allow_private=True)
    assert found is not None
    assert (found.ok, found.is_transient) == (False, False)
    assert "redirects are not followed" in found.detail
    assert Inside.hits == ["/go"]


def test_the_corpus_has_twenty_spellings_and_those_of_this_machine() -> None:
    assert len(payloads.addresses()) >= 20
    assert set(LOCAL) <= set(payloads.addresses())
