"""The live page on a thread of its own, for browsers and programs that ask it."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pipeline.listening import Port
from schemas.controls import Control
from schemas.signals import stable_hash
from sinks.clickhouse.client import Client
from sinks.clickhouse.rows import control_frame
from web.hub import Hub
from web.server import Page

TOKEN = "token-of-the-test"
NAMES = frozenset({"127.0.0.1", "localhost"})


@dataclass(frozen=True, slots=True)
class Served:
    url: str
    page: Page
    hub: Hub
    board: "Board"


class Board:
    """Controls in memory: a later one of a key replaces the earlier. They are recorded at once where there is a client."""

    def __init__(self, client: Client | None = None) -> None:
        self.controls: dict[str, Control] = {}
        self._client = client

    def known(self) -> list[Control]:
        return list(self.controls.values())

    def give(self, controls: Sequence[Control]) -> None:
        self.controls |= {control.key: control for control in controls}
        if self._client is not None:
            token = stable_hash([control.control_id for control in controls])
            self._client.insert_frame("controls", control_frame(controls), token)


def budget(_: str, agent_id: str) -> int | None:
    """One agent has one."""
    return 20_000_000 if agent_id == "seo-agent" else None


@contextmanager
def served(client: Client, now: int) -> Iterator[Served]:
    """The page, told that it is `now` (microseconds)."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> tuple[Served, Port]:
        hub = Hub()
        board = Board(client)
        page = Page(lambda: client, hub, token=TOKEN, hosts=NAMES, now=lambda: now, board=board, budget=budget)
        port = Port(page.application, "127.0.0.1", 0, "--web")
        await port.start()
        return Served(port.url, page, hub, board), port

    def wait(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    found, port = wait(start())
    try:
        yield found
    finally:
        wait(port.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
