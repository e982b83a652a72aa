"""The live page as part of a worker or the demo: its port, its connection to ClickHouse, and what it hears from Kafka.

A thread follows incidents.v1 and signals.v1 from now on, as `aftermath tail` does, and tells the pages that look.
"""

import logging
import secrets
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Final

from pipeline.following import Follower, shown
from pipeline.kafka_connection import KafkaConnection
from pipeline.limits import load_limits
from pipeline.listening import Port
from pipeline.settings import Settings
from pipeline.stages.control_log import give, known_controls
from pipeline.stages.limits_log import LimitsLog
from reports.tail import Tail
from schemas.controls import Control
from schemas.errors import AftermathError, ConfigurationError
from schemas.incidents import Incident
from schemas.topics import INCIDENTS, SIGNALS
from sinks.clickhouse.client import connect_as_set
from web.hub import Hub
from web.server import Page

log = logging.getLogger(__name__)

LIMITS_SECONDS: Final = 30.0  # how old the budgets may be
LOOK_SECONDS: Final = 0.1  # so long a message waits for others before the pages are told
MOST_LINES: Final = 20  # of one look: more nobody reads
LOCAL: Final = ("127.0.0.1", "localhost", "::1")


class ControlsLog:
    """agent.controls.v1, for the page."""

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection

    def known(self) -> Sequence[Control]:
        return known_controls(self._connection)

    def give(self, controls: Sequence[Control]) -> None:
        give(self._connection, controls)


class WebPage:
    """Starts and ends with its worker."""

    def __init__(self, settings: Settings, port: int, now: Callable[[], int]) -> None:
        self._token = settings.web_token.get_secret_value() if settings.web_token else secrets.token_urlsafe(24)
        self._is_set = settings.web_token is not None  # a token that somebody chose is in no log
        host = settings.web_host
        if not settings.web_hosts and host not in LOCAL:
            raise ConfigurationError(
                f"AFTERMATH_WEB_HOST is {host}: say in AFTERMATH_WEB_HOSTS by which names people reach it"
                " (a JSON list), or use 127.0.0.1."
            )
        names = frozenset({*LOCAL, *(name.lower() for name in settings.web_hosts)})
        self._hub = Hub()
        self._connection = settings.kafka_connection
        self._is_over = threading.Event()
        self._limits = LimitsLog(settings.kafka_connection, load_limits(settings.limits_file))
        self._port = Port(
            Page(
                lambda: connect_as_set(settings, connect_timeout=3.0),
                self._hub,
                token=self._token,
                hosts=names,
                now=now,
                board=ControlsLog(settings.kafka_connection),
                budget=self._budget,
            ).application,
            host,
            port,
            "--web",
        )
        self._listener = threading.Thread(target=self._listen, name="web: what happens", daemon=True)

    @property
    def url(self) -> str:
        """The link to open, with the token; after `start`."""
        return f"{self._port.url}/?token={self._token}"

    async def start(self) -> None:
        """Raises ConfigurationError where it cannot listen."""
        await self._port.start()
        self._listener.start()
        log.info("the live page is served", extra={"link": self._port.url if self._is_set else self.url})

    async def stop(self) -> None:
        self._is_over.set()
        await self._port.stop()

    def _listen(self) -> None:
        try:
            follower = Follower(self._connection, (SIGNALS, INCIDENTS), since=None, wait=LOOK_SECONDS)
        except AftermathError as error:
            log.warning("the live page hears nothing: %s", error)
            return
        tail = Tail()
        try:
            looked_at = float("-inf")
            for messages in follower:
                if self._is_over.is_set():
                    return
                if monotonic() - looked_at > LIMITS_SECONDS:
                    self._look_at_limits()
                    looked_at = monotonic()
                if events := told(messages, tail):
                    self._hub.publish_from_thread(events)
        except AftermathError as error:
            log.warning("the live page hears nothing more: %s", error)
        finally:
            follower.close()
            self._limits.close()

    def _look_at_limits(self) -> None:
        try:
            self._limits.look()
        except AftermathError as error:
            log.warning("the live page shows the budgets it knew: %s", error)

    def _budget(self, tenant: str, agent_id: str) -> int | None:
        """Tokens that this agent may use in a day; None where nothing limits it."""
        call = {"tenant": tenant, "agent_id": agent_id}
        whole = dict.fromkeys(("agent_version", "model", "tool_name", "target"))
        of_agent = [b.tokens for b in self._limits.limits.budgets(**call, **whole) if b.budget_of == "agent"]
        return of_agent[0] if of_agent else None


def told(messages: Sequence[tuple[str, bytes]], tail: Tail) -> list[dict[str, Any]]:
    """What the pages are told of these messages: each incident's newest revision, and the last lines of the tail."""
    rows = [row for topic, value in messages if (row := shown(topic, value)) is not None]
    newest = {row.incident_id: row for row in rows if isinstance(row, Incident)}
    events: list[dict[str, Any]] = [
        {"type": "incident", "id": row.incident_id, "revision": str(row.revision), "status": row.status}
        for row in newest.values()
    ]
    return events + [{"type": "line", "line": line} for line in tail.lines(rows)[-MOST_LINES:]]
