"""Slack: one message of blocks for each alert.

With a `url` (incoming webhook) the end is a message of its own: such messages cannot be changed. With a bot token
(`secret`) and a `channel` the message of the beginning is changed when the alert ends; its place comes back as the
delivery's reference. The Web API says what failed inside an answer of 200; only its code word is kept.

Text of others is escaped (`<!channel>` would wake everyone) and marked verbatim, so that names in it do not become
links or mentions.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from yarl import URL

from alerts.outbox import Notification
from alerts.page import Page, Pages, Told, fitted
from alerts.plain_text import clip
from alerts.receivers.receiver import Delivery, ReceiverConfig
from alerts.receivers.sender import Answer, Sender, check_url, parse_url
from schemas.incidents import Incident

API = "https://slack.com/api"
LONGEST_HEADER = 150
LONGEST_SECTION = 3_000
LONGEST_FALLBACK = 3_000
CODE = re.compile(r"[a-z_]{1,60}")
REFERENCE = re.compile(r"([A-Z0-9]{1,40}):(\d{1,20}\.\d{1,10})")
TRANSIENT = frozenset(
    {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}
)
GONE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})


class SlackReceiver:
    """Posts to one channel."""

    resend_seconds = None

    def __init__(self, name: str, config: ReceiverConfig, now: Callable[[], int], pages: Pages) -> None:
        self.name = name
        self._config = config
        self._pages = pages
        self._sender = Sender(name, config, now)
        self._is_bot = self.can_renew = config.secret is not None
        self._url = check_url(name, API, False) if config.url is None else parse_url(name, config)
        token = config.secret.get_secret_value() if config.secret else ""
        self._headers = {"authorization": f"Bearer {token}"} if self._is_bot else {}

    @property
    def urls(self) -> tuple[URL, ...]:
        return (self._url,)

    async def send(self, notification: Notification, incident: Incident, others: Told = ()) -> Delivery:
        """One message, or a change of the one that told the beginning."""
        page = self._pages.of(notification, incident, others)
        if not self._is_bot:
            body = fitted(page, lambda shorter: _json(_message(notification, shorter)), self._config.max_bytes)
            return (await self._sender.post(self._url, body, self._headers)).delivery
        place = REFERENCE.fullmatch(notification.reference)
        if place is not None:
            changed = await self._call("chat.update", page, notification, {"channel": place[1], "ts": place[2]})
            if changed.ok or changed.is_transient or changed.detail.rpartition(" ")[2] not in GONE:
                return changed
        return await self._call("chat.postMessage", page, notification, {"channel": self._config.channel})

    async def _call(self, method: str, page: Page, notification: Notification, target: dict[str, Any]) -> Delivery:
        body = fitted(page, lambda shorter: _json(_message(notification, shorter) | target), self._config.max_bytes)
        return _judge(await self._sender.post(self._url / method, body, self._headers, reads=True))


def _judge(answer: Answer) -> Delivery:
    """The verdict of the Web API: 200 says only that it was heard."""
    if not answer.delivery.ok:
        return answer.delivery
    try:
        said = json.loads(answer.body)
        is_ok, code, place = said.get("ok"), str(said.get("error")), f"{said.get('channel')}:{said.get('ts')}"
    except (ValueError, AttributeError):
        return Delivery(False, f"{answer.delivery.detail}, but no answer of Slack's Web API; check the url")
    if is_ok is True:
        return Delivery(True, answer.delivery.detail, reference=place if REFERENCE.fullmatch(place) else "")
    word = code if CODE.fullmatch(code) else "unknown_error"
    return Delivery(False, f"Slack refused it: {word}", is_transient=word in TRANSIENT)


def _message(notification: Notification, page: Page) -> dict[str, Any]:
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": clip(page.headline, LONGEST_HEADER), "emoji": False}},
        _section(f"*{_escape(page.title)}*"),
        *(_section(text) for text in _paragraphs([f"*{label}*  {_escape(text)}" for label, text in page.lines])),
    ]
    if page.links:
        blocks.append(_section(" · ".join(f"<{_escape(url)}|{text}>" for text, url in page.links)))
    return {"text": clip(f"{page.headline}: {_escape(page.title)}", LONGEST_FALLBACK), "blocks": blocks}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": clip(text, LONGEST_SECTION), "verbatim": True}}


def _paragraphs(lines: list[str]) -> Iterator[str]:
    """As many lines in one text as a section holds."""
    found = ""
    for line in lines:
        if found and len(found) + len(line) + 1 > LONGEST_SECTION:
            yield found
            found = ""
        found = f"{found}\n{line}" if found else line
    if found:
        yield found


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
