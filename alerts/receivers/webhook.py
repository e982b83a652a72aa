"""The generic webhook: one signed POST for each notification, by the Standard Webhooks specification.

One connection for each attempt: pages are few, and a receiver that is down must not leave anything open.
Redirects are not followed (they would carry the page to an address nobody configured), proxies of the
environment are not used, the answer's text is not kept (it may repeat the url, whose path may be a key). The
body is the same in every attempt.
"""

import asyncio
import email.utils
import ipaddress
import os
from collections.abc import Callable, Mapping
from datetime import UTC

import aiohttp
from yarl import URL

from alerts.outbox import Notification
from alerts.receivers.addresses import PrivateAddressError, PublicResolver, is_address, is_public
from alerts.receivers.body import body_of
from alerts.receivers.receiver import Delivery, ReceiverConfig
from alerts.receivers.signature import headers, parse_secret
from alerts.rules.model import Rule
from schemas.errors import ConfigurationError
from schemas.incidents import Incident
from schemas.times import EPOCH, MICROS

TRANSIENT = frozenset({408, 425, 429})  # and every 5xx
LONGEST_RETRY_AFTER = 300.0  # seconds; the cap of the back-off
USER_AGENT = "aftermath/1"


class WebhookReceiver:
    """Posts to one url. `now` gives microseconds UTC: the time of the attempt, for the signature."""

    def __init__(self, name: str, config: ReceiverConfig, now: Callable[[], int], rules: Mapping[str, Rule]) -> None:
        self.name = name
        self._config = config
        self._now = now
        self._rules = rules
        self._url = _url(name, config)
        self._key = None if config.secret is None else parse_secret(config.secret.get_secret_value(), name)

    def __repr__(self) -> str:
        return f"WebhookReceiver({self.name!r}, {self._place})"

    @property
    def _place(self) -> str:
        """The url as it may be shown: without path, query and user."""
        return f"{self._url.host}:{self._url.port}"

    async def send(self, notification: Notification, incident: Incident) -> Delivery:
        """One POST. 2xx is delivered; 408, 425, 429, 5xx and the network are transient; others permanent."""
        body = body_of(notification, incident, self._rules.get(notification.rule), self._config.max_bytes)
        attempted_at = self._now()
        sent = {"content-type": "application/json", "user-agent": USER_AGENT}
        sent |= headers(notification.dedup_key, attempted_at // MICROS, body, self._key)
        try:
            async with (
                self._session() as session,
                session.post(self._url, data=body, headers=sent, allow_redirects=False) as answer,
            ):
                return self._judge(answer.status, answer.headers, attempted_at)
        except PrivateAddressError as error:
            return Delivery(False, f"{self._place} is the private address {error}; set allow_private if that is meant")
        except (aiohttp.ClientError, TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            return Delivery(False, f"{self._place}: {self._words(error)}", is_transient=True)

    def _session(self) -> aiohttp.ClientSession:
        resolver = None if self._config.allow_private else PublicResolver()
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True),
            timeout=aiohttp.ClientTimeout(total=self._config.timeout_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,  # the body is not read
        )

    def _judge(self, status: int, answer: Mapping[str, str], attempted_at: int) -> Delivery:
        said = f"HTTP {status} from {self._place}"
        if 200 <= status < 300:
            return Delivery(True, said)
        if status in TRANSIENT or status >= 500:
            return Delivery(False, said, True, parse_retry_after(answer.get("Retry-After"), attempted_at))
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


def _url(name: str, config: ReceiverConfig) -> URL:
    try:
        url = URL(config.url.get_secret_value() if config.url else "")
        port = url.port
    except ValueError:
        raise ConfigurationError(f"receiver {name}: the url is not one; write https://host/path") from None
    if url.scheme not in ("http", "https") or not url.host or not port:
        raise ConfigurationError(f"receiver {name}: the url must begin with https:// or http:// and name a host")
    if not config.allow_private and is_address(url.host) and not is_public(url.host):
        address = ipaddress.ip_address(url.host.partition("%")[0])
        raise ConfigurationError(f"receiver {name}: {address} is a private address; set allow_private if that is meant")
    return url


def parse_retry_after(value: str | None, now: int) -> float | None:
    """Seconds to wait, from a number or an HTTP date, at most five minutes; None where it is neither."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), LONGEST_RETRY_AFTER)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - EPOCH).total_seconds() - now / MICROS, 0.0), LONGEST_RETRY_AFTER)
