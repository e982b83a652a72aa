"""Somebody who is told of pages by webhook, and fails on command. It keeps every page that reached it.

`plan` says for each request what becomes of it:

    200               taken and answered
    500, 429          refused with this status; 429 asks for a second's patience
    drop              taken, and the connection closed without an answer
    hang              not taken, and no answer until the end
    drip              taken, and an answer of one byte at a time
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import SecretStr

from alerts.page import Pages
from alerts.receivers import ReceiverConfig, build
from alerts.retry import RetryPolicy
from alerts.rules.model import Rule
from pipeline.settings import ReceiverSettings, Settings
from pipeline.stages.base import StageError
from pipeline.stages.notify import Notify
from tests.builders import T0

TAKEN = ("200", "drop", "drip")
DRIP_SECONDS = 0.2
TIMEOUT_SECONDS = 0.5


def rule_for(*receivers: str) -> dict[str, Any]:
    """Pages every feedback loop to these receivers."""
    return {
        "id": "feedback_loop",
        "title": "An agent is looping",
        "when": {"kind": "feedback_loop"},
        "mode": "page",
        "receivers": sorted(receivers),
        "runbook": "alerts/rules/README.md#feedback_loop",
        "owner": "on-call",
    }


@dataclass(frozen=True, slots=True)
class Request:
    """One attempt, and what became of it."""

    dedup_key: str
    incident: str
    transition: str
    became: str
    at: float


class FaultyReceiver:
    """Listens on a port of its own while the context lasts."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.plan: Callable[[int], str] = lambda _: "200"
        self.is_over = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/pages"

    @property
    def pages(self) -> list[Request]:
        """What was taken, whether or not the sender knows."""
        return [request for request in list(self.requests) if request.became in TAKEN]

    def told(self, settings: Settings, folder: Path) -> Settings:
        """The settings of a worker whose pages come here, for every feedback loop."""
        rules = folder / "rules"
        rules.mkdir()
        (rules / "feedback_loop.yml").write_text(json.dumps(rule_for("hook")))  # JSON is YAML
        hook = ReceiverSettings(kind="webhook", url=SecretStr(self.url), allow_private=True)
        return settings.model_copy(update={"rules_dir": rules, "receivers": {"hook": hook}})

    def decide(self, headers: Any, body: bytes) -> str:
        said = json.loads(body)
        notification = said["data"]["notification"]
        with self._lock:
            became = self.plan(len(self.requests))
            self.requests.append(
                Request(
                    headers["webhook-id"],
                    notification["incident_id"],
                    notification["transition"],
                    became,
                    time.monotonic(),
                )
            )
        return became

    def __enter__(self) -> "FaultyReceiver":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_over.set()
        self._server.shutdown()
        self._server.server_close()


def notify_to(settings: Settings, **receivers: FaultyReceiver) -> tuple[Notify, list[StageError]]:
    """notify with the webhook of the product for each receiver, and retries ten times as quick."""
    errors: list[StageError] = []
    rule = Rule.model_validate(rule_for(*receivers))
    configs = {
        name: ReceiverConfig.model_validate(
            {"kind": "webhook", "url": receiver.url, "allow_private": True, "timeout_seconds": TIMEOUT_SECONDS}
        )
        for name, receiver in receivers.items()
    }
    made = build(configs, now=lambda: T0, pages=Pages([rule]))
    retry = RetryPolicy(base_seconds=0.1, cap_seconds=0.5)
    return Notify(settings, errors.append, rules=[rule], receivers=made, retry=retry), errors


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, receiver: FaultyReceiver) -> None:
        self.receiver = receiver
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gives up is part of the fault."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Not one line per request."""

    def do_POST(self) -> None:
        receiver = self.server.receiver
        became = receiver.decide(self.headers, self.rfile.read(int(self.headers["Content-Length"])))
        self.close_connection = True
        if became == "hang":
            receiver.is_over.wait(60)
        elif became == "drip":
            for letter in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":
                self.wfile.write(bytes([letter]))
                if receiver.is_over.wait(DRIP_SECONDS):
                    return
        elif became != "drop":
            self.send_response(int(became))
            if became == "429":
                self.send_header("Retry-After", "1")
            self.send_header("Content-Length", "0")
            self.end_headers()
