"""What happens, to every page that looks: one writer, many readers, none of which can hold up another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

MOST_WAITING: Final = 500  # events of one reader; one that is slower than this is told to read everything anew
AGAIN: Final[dict[str, Any]] = {"type": "again"}


class Hub:
    """Lives in one event loop; `publish_from_thread` may be called from any thread."""

    def __init__(self) -> None:
        self._readers: set[asyncio.Queue[dict[str, Any]]] = set()
        self._loop = asyncio.get_running_loop()

    @property
    def readers(self) -> int:
        """How many look now."""
        return len(self._readers)

    def publish(self, event: dict[str, Any]) -> None:
        """To all who look now."""
        for reader in self._readers:
            if reader.full():
                while not reader.empty():
                    reader.get_nowait()
                reader.put_nowait(AGAIN)
            else:
                reader.put_nowait(event)

    def publish_from_thread(self, events: list[dict[str, Any]]) -> None:
        """In the hub's loop, soon; after the loop has ended, nowhere."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._publish_all, events)

    def _publish_all(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            self.publish(event)

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[asyncio.Queue[dict[str, Any]]]:
        """A queue of what happens from now on."""
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MOST_WAITING)
        self._readers.add(queue)
        try:
            yield queue
        finally:
            self._readers.discard(queue)
