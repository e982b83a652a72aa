"""Opsgenie, alert API v2, for those who still have it: its makers end it in April 2027.

Jira Service Management takes the same calls at another address (set `url` to its integration's base). The alias is
the notification's thread: an alert that is open under it is counted up, not opened again; `close` ends it. 202 means
accepted; an alias that is not open is closed without an error.
"""

import json
from collections.abc import Callable

from yarl import URL

from alerts.outbox import Notification
from alerts.page import Page, Pages, Told, fitted
from alerts.plain_text import clip, plain
from alerts.receivers.console import block
from alerts.receivers.receiver import Delivery, ReceiverConfig
from alerts.receivers.sender import Sender, parse_url
from schemas.incidents import Incident, Severity

API = "https://api.opsgenie.com"  # of the EU: https://api.eu.opsgenie.com
PRIORITIES: dict[Severity, str] = {"critical": "P1", "warning": "P3", "info": "P5"}
LONGEST_MESSAGE = 130
LONGEST_DESCRIPTION = 15_000
LONGEST_TAG = 50


class OpsgenieReceiver:
    """Calls the API of one integration; the secret is its key."""

    resend_seconds = None
    can_renew = False

    def __init__(self, name: str, config: ReceiverConfig, now: Callable[[], int], pages: Pages) -> None:
        self.name = name
        self._config = config
        self._pages = pages
        self._url = parse_url(name, config, API)
        self._sender = Sender(name, config, now)
        self._headers = {"authorization": f"GenieKey {config.secret.get_secret_value() if config.secret else ''}"}

    @property
    def urls(self) -> tuple[URL, ...]:
        return (self._url,)

    async def send(self, notification: Notification, incident: Incident, others: Told = ()) -> Delivery:
        """One call: create, or close."""
        if notification.transition == "resolved":
            url = self._url / "v2/alerts" / notification.thread / "close"
            body = _json({"source": "aftermath", "note": clip(plain(notification.title), LONGEST_DESCRIPTION)})
            return (await self._sender.post(url % {"identifierType": "alias"}, body, self._headers)).delivery
        page = self._pages.of(notification, incident, others)
        body = fitted(page, lambda shorter: _alert(notification, incident, shorter), self._config.max_bytes)
        return (await self._sender.post(self._url / "v2/alerts", body, self._headers)).delivery


def _alert(notification: Notification, incident: Incident, page: Page) -> bytes:
    tags = [incident.kind, notification.severity, plain(incident.scope or ""), plain(incident.agent_id or "")]
    return _json(
        {
            "message": clip(page.title, LONGEST_MESSAGE),
            "alias": notification.thread,
            "description": clip(block(page), LONGEST_DESCRIPTION),
            "priority": PRIORITIES[notification.severity],
            "source": "aftermath",
            "entity": plain(incident.scope or incident.tenant),
            "tags": [clip(tag, LONGEST_TAG) for tag in tags if tag],
            "details": {"incident": incident.incident_id, "rule": notification.rule, **dict(page.links)},
        }
    )


def _json(value: dict[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
