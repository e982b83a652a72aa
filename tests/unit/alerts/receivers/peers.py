"""Servers on this machine that speak the documented protocols: they refuse what the real ones refuse.

Each keeps what it was sent (`requests`) and what it would show (`shown`); `plan` answers in place of the protocol:
a status, with headers, or silence.
"""

import asyncio
import json
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from aiohttp import web
from aiohttp.test_utils import TestServer

KEY = "0123456789abcdef0123456789abcdef"  # what every peer here takes as key, token or password


@dataclass
class Plan:
    """Instead of the protocol: this status, or with none no answer until `release`."""

    status: int | None
    headers: dict[str, str] = field(default_factory=dict)
    release: asyncio.Event = field(default_factory=asyncio.Event)


class Peer(ABC):
    """One service."""

    kind: ClassVar[str]
    config: ClassVar[dict[str, Any]] = {"secret": KEY}

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.shown: dict[str, dict[str, Any]] = {}
        self.plan: Plan | None = None

    async def handle(self, request: web.Request) -> web.Response:
        raw = await request.read()
        body = json.loads(raw)
        self.requests.append((request.path_qs, dict(request.headers), body))
        if self.plan is not None:
            if self.plan.status is None:
                await self.plan.release.wait()
            return web.Response(status=self.plan.status or 200, headers=self.plan.headers, text=f"{KEY} {request.path}")
        if request.method != "POST" or request.headers["Content-Type"] != "application/json":
            return web.Response(status=415)
        return self.answer(request, body, len(raw))

    @abstractmethod
    def answer(self, request: web.Request, body: Any, size: int) -> web.Response:
        """By the protocol."""

    @property
    def bodies(self) -> list[Any]:
        return [body for _, _, body in self.requests]


class PagerDuty(Peer):
    """Events API v2: shown by dedup key, triggered or resolved."""

    kind = "pagerduty"

    def answer(self, request: web.Request, body: Any, size: int) -> web.Response:
        payload, action = body.get("payload"), body.get("event_action")
        wrong = [
            size > 512_000,
            request.path != "/v2/enqueue",
            body.get("routing_key") != KEY,
            action not in ("trigger", "acknowledge", "resolve"),
            not 0 < len(body.get("dedup_key", "")) <= 255,
            action == "trigger" and not self._is_payload(payload),
            any(set(link) != {"href", "text"} for link in body.get("links", ())),
        ]
        if any(wrong):
            return web.json_response({"status": "invalid event"}, status=400)
        key = body["dedup_key"]
        if action == "trigger":
            self.shown[key] = {"status": "triggered", "summary": payload["summary"]}
        elif key in self.shown:
            self.shown[key]["status"] = "resolved"
        return web.json_response({"status": "success", "message": "Event processed", "dedup_key": key}, status=202)

    @staticmethod
    def _is_payload(payload: Any) -> bool:
        datetime.fromisoformat(payload["timestamp"])
        return (
            0 < len(payload["summary"]) <= 1024
            and bool(payload["source"])
            and payload["severity"] in ("critical", "error", "warning", "info")
        )


class Opsgenie(Peer):
    """Alert API v2: shown by alias, open or closed."""

    kind = "opsgenie"

    def answer(self, request: web.Request, body: Any, size: int) -> web.Response:
        if request.headers.get("Authorization") != f"GenieKey {KEY}":
            return web.json_response({"message": "Key format is not valid!"}, status=403)
        close = re.fullmatch(r"/v2/alerts/([^/]+)/close", request.path)
        if close:
            if request.query.get("identifierType") != "alias":
                return web.json_response({"message": "no such id"}, status=404)
            if close[1] in self.shown:
                self.shown[close[1]]["status"] = "closed"
        else:
            fits = (
                request.path == "/v2/alerts"
                and 0 < len(body["message"]) <= 130
                and len(body["alias"]) <= 512
                and len(body["description"]) <= 15_000
                and body["priority"] in ("P1", "P2", "P3", "P4", "P5")
                and all(len(tag) <= 50 for tag in body["tags"])
                and sum(len(key) + len(value) for key, value in body["details"].items()) <= 8_000
                and len(body["entity"]) <= 512
            )
            if not fits:
                return web.json_response({"message": "Request body is not processable"}, status=422)
            self.shown.setdefault(body["alias"], {"count": 0, "status": "open"})["count"] += 1
        return web.json_response({"result": "Request will be processed", "requestId": "r1"}, status=202)


class SlackHook(Peer):
    """Incoming webhook: every message is shown."""

    kind = "slack"
    config: ClassVar[dict[str, Any]] = {}

    def answer(self, request: web.Request, body: Any, size: int) -> web.Response:
        if fault := block_fault(body):
            return web.Response(status=400, text=fault)
        self.shown[str(len(self.shown))] = body
        return web.Response(text="ok")


class SlackBot(Peer):
    """Web API: what is wrong stands in an answer of 200."""

    kind = "slack"
    config: ClassVar[dict[str, Any]] = {"secret": KEY, "channel": "C0123456789"}
    error: str | None = None

    def answer(self, request: web.Request, body: Any, size: int) -> web.Response:
        error = self.error
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            error = "invalid_auth"
        elif body.get("channel") != "C0123456789":
            error = "channel_not_found"
        elif request.path.endswith("/chat.update") and body.get("ts") not in self.shown:
            error = "message_not_found"
        error = error or block_fault(body)
        if error:
            return web.json_response({"ok": False, "error": error})
        stamp = body.get("ts") or f"1772445630.{len(self.shown):06}"
        self.shown[stamp] = body
        return web.json_response({"ok": True, "channel": "C0123456789", "ts": stamp})


class Alertmanager(Peer):
    """API v2: shown by labels."""

    kind = "alertmanager"
    config: ClassVar[dict[str, Any]] = {}

    def answer(self, request: web.Request, body: Any, size: int) -> web.Response:
        for alert in body:
            texts = [*alert["labels"].values(), *alert["annotations"].values()]
            starts, ends = (datetime.fromisoformat(alert[name]) for name in ("startsAt", "endsAt"))
            if request.path != "/api/v2/alerts" or not alert["labels"] or ends < starts:
                return web.Response(status=400, text="bad alert")
            if not all(isinstance(text, str) for text in texts):
                return web.Response(status=400, text="not a string")
            self.shown[json.dumps(alert["labels"], sort_keys=True)] = alert
        return web.Response()


def block_fault(message: Any) -> str | None:
    """What Slack says of a message that is none."""
    if not message.get("text"):
        return "no_text"
    blocks = message.get("blocks", [])
    if len(blocks) > 50:
        return "invalid_blocks"
    for block in blocks:
        longest = {"header": 150, "section": 3_000}[block["type"]]
        if not 0 < len(block["text"]["text"]) <= longest:
            return "invalid_blocks"
    return None


ALL: tuple[type[Peer], ...] = (PagerDuty, Opsgenie, SlackHook, SlackBot, Alertmanager)


@asynccontextmanager
async def serving(peer: Peer) -> AsyncIterator[str]:
    """The address of a peer while it listens."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", peer.handle)
    async with TestServer(app, host="127.0.0.1") as server:
        path = "/v2/enqueue" if isinstance(peer, PagerDuty) else ""
        yield str(server.make_url(path))
