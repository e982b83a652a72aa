"""PagerDuty, Events API v2: one event for each notification.

`dedup_key` is the notification's thread: `trigger` opens the alert, or updates it where it is open, `resolve` closes
it; what comes twice changes nothing. 202 means accepted, not shown; 400 is never tried again; after 429 an attempt
within a minute would be refused as well.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from yarl import URL

from alerts.outbox import Notification
from alerts.page import Page, Pages, Told, fitted
from alerts.plain_text import clip, plain
from alerts.receivers.receiver import Delivery, ReceiverConfig
from alerts.receivers.sender import TOO_MANY, Sender, parse_url
from schemas.incidents import Incident
from schemas.times import format_time

API = "https://events.pagerduty.com/v2/enqueue"  # of the EU: https://events.eu.pagerduty.com/v2/enqueue
LONGEST_SUMMARY = 1_024
LEAST_WAIT_SECONDS = 60.0


class PagerDutyReceiver:
    """Posts to one service; the secret is its integration (routing) key."""

    resend_seconds = None
    can_renew = True  # a trigger under a key that is open changes it and wakes nobody

    def __init__(self, name: str, config: ReceiverConfig, now: Callable[[], int], pages: Pages) -> None:
        self.name = name
        self._config = config
        self._pages = pages
        self._url = parse_url(name, config, API)
        self._sender = Sender(name, config, now)
        self._key = config.secret.get_secret_value() if config.secret else ""

    @property
    def urls(self) -> tuple[URL, ...]:
        return (self._url,)

    async def send(self, notification: Notification, incident: Incident, others: Told = ()) -> Delivery:
        """One event."""
        page = self._pages.of(notification, incident, others)
        body = fitted(page, lambda shorter: self._event(notification, incident, shorter), self._config.max_bytes)
        answer = await self._sender.post(self._url, body, {})
        if answer.status == TOO_MANY:
            wait = max(LEAST_WAIT_SECONDS, answer.delivery.retry_after or 0.0)
            return replace(answer.delivery, retry_after=wait)
        return answer.delivery

    def _event(self, notification: Notification, incident: Incident, page: Page) -> bytes:
        event: dict[str, Any] = {
            "routing_key": self._key,
            "event_action": "resolve" if notification.transition == "resolved" else "trigger",
            "dedup_key": notification.thread,
        }
        if notification.transition != "resolved":
            event |= {
                "client": "Aftermath",
                "links": [{"href": url, "text": text} for text, url in page.links],
                "payload": {
                    "summary": clip(page.title, LONGEST_SUMMARY),
                    "source": plain(incident.scope or incident.tenant),
                    "severity": notification.severity,
                    "timestamp": format_time(incident.started_at),
                    "component": plain(incident.agent_id or ""),
                    "group": plain(incident.scope or ""),
                    "class": incident.kind,
                    "custom_details": dict(page.lines),
                },
            }
            live = dict(page.links).get("live page")
            event |= {"client_url": live} if live else {}
        return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
