"""Alertmanager, API v2: an alert with the labels it fired with; what changes stands in annotations.

An alert is firing while its `endsAt` lies ahead: it is sent again every minute (`resend_seconds`; the notify stage
does it) with an end four such intervals away, so that alerts of a worker that is gone end by themselves, and an
Alertmanager that lost its memory has them again. The end is sent with the same labels and an `endsAt` of now.

The members of a cluster do not tell each other of alerts: `url` may name several, separated by commas, and each is
sent to. One that took it is enough for a delivery; the others get it with the next minute.
"""

import asyncio
import json
from collections.abc import Callable

from yarl import URL

from alerts.outbox import Notification
from alerts.page import Page, Pages, Told, fitted
from alerts.receivers.heartbeat import ALERT_NAME, Beat
from alerts.receivers.receiver import Delivery, ReceiverConfig
from alerts.receivers.sender import Sender, check_url
from schemas.incidents import Incident
from schemas.times import MICROS, format_time

RESEND_SECONDS = 60.0
INTERVALS_TO_LIVE = 4


class AlertmanagerReceiver:
    """Posts to every member of one Alertmanager; a secret is a bearer token of a proxy before it."""

    resend_seconds: float | None = RESEND_SECONDS
    can_renew = False  # it hears the newest revision every minute

    def __init__(self, name: str, config: ReceiverConfig, now: Callable[[], int], pages: Pages) -> None:
        self.name = name
        self._config = config
        self._now = now
        self._pages = pages
        self._sender = Sender(name, config, now)
        given = config.url.get_secret_value() if config.url else ""
        self._urls = [check_url(name, part.strip(), config.allow_private) for part in given.split(",")]
        token = config.secret.get_secret_value() if config.secret else ""
        self._headers = {"authorization": f"Bearer {token}"} if token else {}

    @property
    def urls(self) -> tuple[URL, ...]:
        return tuple(self._urls)

    async def send(self, notification: Notification, incident: Incident, others: Told = ()) -> Delivery:
        """One POST to each member: the alert and what is told with it."""
        alerts = [self._alert(*one) for one in ((notification, incident), *others)]
        return await self._tell(b"[" + b",".join(alerts) + b"]")

    async def beat(self, beat: Beat) -> Delivery:
        """The alert that always fires: a route of Alertmanager's own sends it to a dead-man service."""
        alert = {
            "labels": {"alertname": ALERT_NAME, "severity": "none", "source": beat.source},
            "annotations": {"summary": f"Aftermath makes progress ({', '.join(beat.stages)}); page when this ends."},
            "startsAt": format_time(beat.at),
            "endsAt": format_time(beat.at + INTERVALS_TO_LIVE * beat.interval),
        }
        return await self._tell(json.dumps([alert], separators=(",", ":")).encode())

    async def _tell(self, body: bytes) -> Delivery:
        found = await asyncio.gather(*(self._post(url, body) for url in self._urls))
        taken = [delivery for delivery in found if delivery.ok]
        if not taken:
            return next((delivery for delivery in found if delivery.is_transient), found[0])
        missing = len(found) - len(taken)
        return taken[0] if not missing else Delivery(True, f"{taken[0].detail}; {missing} of {len(found)} did not")

    async def _post(self, url: URL, body: bytes) -> Delivery:
        return (await self._sender.post(url / "api/v2/alerts", body, self._headers)).delivery

    def _alert(self, notification: Notification, incident: Incident) -> bytes:
        page = self._pages.of(notification, incident)
        share = self._config.max_bytes
        return fitted(page, lambda shorter: self._encode(notification, incident, shorter), share)

    def _encode(self, notification: Notification, incident: Incident, page: Page) -> bytes:
        now = self._now()
        lives = 0 if notification.transition == "resolved" else int(RESEND_SECONDS * INTERVALS_TO_LIVE * MICROS)
        links = dict(page.links)
        alert = {
            "labels": notification.label_map,
            "annotations": {
                "summary": page.title,
                **{label.replace(" ", "_"): text for label, text in page.lines},
                **({"runbook_url": links["runbook"]} if "runbook" in links else {}),
            },
            "startsAt": format_time(min(incident.started_at, now)),
            "endsAt": format_time(now + lives),
            **({"generatorURL": links["live page"]} if "live page" in links else {}),
        }
        return json.dumps(alert, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
