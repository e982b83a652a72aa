"""One HTTP attempt, the same way for every receiver.

One connection for each attempt: pages are few, and a receiver that is down must not leave anything open.
Redirects are not followed (they would carry the page to an address nobody configured), proxies of the
environment are not used, the answer's text is not kept (it may repeat the url, whose path may be a key). Of an
answer at most `MOST_ANSWER_BYTES` are read, and only where a receiver has to look into it.
"""

import asyncio
import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp
from yarl import URL

from alerts.receivers.addresses import PrivateAddressError, PublicResolver, is_address, is_public
from alerts.receivers.receiver import Delivery, ReceiverConfig
from schemas.errors import ConfigurationError
from schemas.retry_after import parse_retry_after

TRANSIENT = frozenset({408, 425, 429})  # and every 5xx
TOO_MANY = 429
MOST_ANSWER_BYTES = 64_000
USER_AGENT = "aftermath/1"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and our verdict by its status alone."""

    delivery: Delivery
    status: int = 0  # 0: nothing came back
    body: bytes = b""


class Sender:
    """Posts for one receiver. `now` gives microseconds UTC: `Retry-After` may be a date."""

    def __init__(self, name: str, config: ReceiverConfig, now: Callable[[], int]) -> None:
        self.name = name
        self._config = config
        self._now = now

    async def post(self, url: URL, body: bytes, headers: Mapping[str, str], *, reads: bool = False) -> Answer:
        """One POST of JSON. 2xx is delivered; 408, 425, 429, 5xx and the network are transient; others permanent."""
        sent = {"content-type": "application/json", "user-agent": USER_AGENT, **headers}
        try:
            async with (
                self._session() as session,
                session.post(url, data=body, headers=sent, allow_redirects=False) as answer,
            ):
                found = await _first_bytes(answer) if reads else b""
                return Answer(self._judge(url, answer.status, answer.headers), answer.status, found)
        except PrivateAddressError as error:
            detail = f"{place(url)} is the private address {error}; set allow_private if that is meant"
            return Answer(Delivery(False, detail))
        except (aiohttp.ClientError, TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            return Answer(Delivery(False, f"{place(url)}: {self._words(error)}", is_transient=True))

    def _session(self) -> aiohttp.ClientSession:
        resolver = None if self._config.allow_private else PublicResolver()
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True),
            timeout=aiohttp.ClientTimeout(total=self._config.timeout_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,  # nothing that unfolds is read
        )

    def _judge(self, url: URL, status: int, answer: Mapping[str, str]) -> Delivery:
        said = f"HTTP {status} from {place(url)}"
        if 200 <= status < 300:
            return Delivery(True, said)
        if status in TRANSIENT or status >= 500:
            return Delivery(False, said, True, parse_retry_after(answer.get("Retry-After"), self._now()))
        if 300 <= status < 400:
            return Delivery(False, f"{said}: redirects are not followed; configure the final address")
        return Delivery(False, f"{said}: it does not want this; check the url and the secret")

    def _words(self, error: Exception) -> str:
        """A foreign error in our words: its own text may carry the url."""
        if isinstance(error, TimeoutError):
            return f"no answer within {self._config.timeout_seconds:g} s"
        if isinstance(error, aiohttp.ClientSSLError):
            return "the TLS certificate or handshake was refused"
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return "the name cannot be resolved"
        if isinstance(error, OSError) and error.errno:
            return f"not reachable ({os.strerror(error.errno)})"
        return f"the connection failed ({type(error).__name__})"


async def _first_bytes(answer: aiohttp.ClientResponse) -> bytes:
    found = b""
    while len(found) < MOST_ANSWER_BYTES:
        piece = await answer.content.read(MOST_ANSWER_BYTES - len(found))
        if not piece:
            break
        found += piece
    return found


def place(url: URL) -> str:
    """A url as it may be shown: without path, query and user."""
    return f"{url.host}:{url.port}"


def parse_url(name: str, config: ReceiverConfig, default: str = "") -> URL:
    """The receiver's url, or the default. Raises ConfigurationError, never with the path in it."""
    return check_url(name, config.url.get_secret_value() if config.url else default, config.allow_private)


def check_url(name: str, text: str, allow_private: bool) -> URL:
    """A url that may be called. Raises ConfigurationError."""
    try:
        url = URL(text)
        port = url.port
    except ValueError:
        raise ConfigurationError(f"receiver {name}: the url is not one; write https://host/path") from None
    if url.scheme not in ("http", "https") or not url.host or not port:
        raise ConfigurationError(f"receiver {name}: the url must begin with https:// or http:// and name a host")
    if not allow_private and is_address(url.host) and not is_public(url.host):
        address = ipaddress.ip_address(url.host.partition("%")[0])
        raise ConfigurationError(f"receiver {name}: {address} is a private address; set allow_private if that is meant")
    return url
