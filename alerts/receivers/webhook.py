"""The generic webhook: one signed POST for each notification, by the Standard Webhooks specification.

The body is the same in every attempt, and so is `webhook-id`, by which the receiver folds what it had already.
A heartbeat is a POST of type `heartbeat`: dead-man services count any POST to their address.
"""

import json
from collections.abc import Callable

from yarl import URL

from alerts.outbox import Notification
from alerts.page import Pages, Told
from alerts.receivers.body import body_of
from alerts.receivers.heartbeat import Beat
from alerts.receivers.receiver import Delivery, ReceiverConfig
from alerts.receivers.sender import Sender, parse_url, place
from alerts.receivers.signature import headers, parse_secret
from schemas.incidents import Incident
from schemas.signals import stable_hash
from schemas.times import MICROS, format_time


class WebhookReceiver:
    """Posts to one url. `now` gives microseconds UTC: the time of the attempt, for the signature."""

    resend_seconds = None
    can_renew = False

    def __init__(self, name: str, config: ReceiverConfig, now: Callable[[], int], pages: Pages) -> None:
        self.name = name
        self._config = config
        self._now = now
        self._pages = pages
        self._url = parse_url(name, config)
        self._sender = Sender(name, config, now)
        self._key = None if config.secret is None else parse_secret(config.secret.get_secret_value(), name)

    def __repr__(self) -> str:
        return f"WebhookReceiver({self.name!r}, {place(self._url)})"

    @property
    def urls(self) -> tuple[URL, ...]:
        return (self._url,)

    async def send(self, notification: Notification, incident: Incident, others: Told = ()) -> Delivery:
        """One POST."""
        body = body_of(notification, incident, self._pages.rule(notification), self._config.max_bytes, others)
        signed = headers(notification.dedup_key, self._now() // MICROS, body, self._key)
        return (await self._sender.post(self._url, body, signed)).delivery

    async def beat(self, beat: Beat) -> Delivery:
        """One POST."""
        data = {"source": beat.source, "stages": beat.stages, "next_within_seconds": beat.interval / MICROS}
        message = {"type": "heartbeat", "timestamp": format_time(beat.at), "data": data}
        body = json.dumps(message, separators=(",", ":")).encode()
        signed = headers(stable_hash("heartbeat", beat.source, beat.at), self._now() // MICROS, body, self._key)
        return (await self._sender.post(self._url, body, signed)).delivery
