"""Says through a receiver that pages would come, for as long as that is true: who hears nothing more pages somebody.

Sent by the one notify worker that reads partition 0, about all that stands between an event and a page: detect,
correlate, notify, whichever process runs them. What counts is what their groups have committed to Kafka, seen from
outside. A process that is up proves nothing.

A stage makes progress while its offsets move, or nothing waits for it. On live topics detect and correlate always have
something to read (ticks, and the markers that follow them), so that for them nothing waiting is no progress. What was
not yet seen to move since this worker began is not vouched for.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from alerts.receivers.heartbeat import Beat, Beating
from alerts.routing.files import HeartbeatEntry
from pipeline.offsets import Offsets, Place
from pipeline.settings import Settings
from schemas.errors import DependencyError
from schemas.times import MICROS
from schemas.topics import INCIDENTS, INPUTS, SIGNALS, Topic

log = logging.getLogger(__name__)

WATCHED: Final[Mapping[str, tuple[Topic, ...]]] = {"detect": INPUTS, "correlate": (SIGNALS,), "notify": (INCIDENTS,)}
TICKING: Final = frozenset({"detect", "correlate"})  # live, they are never without work

Positions = Mapping[Place, int]


@dataclass(slots=True)
class _Seen:
    positions: Positions
    moved_at: int | None = None


class Progress:
    """Judges looks at the groups, given one after the other with their times; microseconds."""

    def __init__(self, *, still_after: int, is_live: bool) -> None:
        self._still_after, self._is_live = still_after, is_live
        self._seen: dict[str, _Seen] = {}

    def stands_still(self, stage: str, committed: Positions, ends: Positions, now: int) -> bool:
        """Whether this stage cannot be vouched for."""
        seen = self._seen.setdefault(stage, _Seen(committed))
        is_idle = all(committed.get(place, 0) >= end for place, end in ends.items())
        if committed != seen.positions or (is_idle and not (self._is_live and stage in TICKING)):
            seen.positions, seen.moved_at = committed, now
        return seen.moved_at is None or now - seen.moved_at >= self._still_after


class Heartbeat:
    """`is_mine` says whether this is the worker that speaks."""

    def __init__(
        self,
        settings: Settings,
        said: HeartbeatEntry,
        receiver: Beating,
        now: Callable[[], int],
        is_mine: Callable[[], bool],
    ) -> None:
        self._settings, self._said, self._receiver, self._now, self._is_mine = settings, said, receiver, now, is_mine
        self._progress = Progress(still_after=said.still_after, is_live=not settings.recorded)
        self._silent_because: str | None = "it has only begun"

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            if self._is_mine():
                self._say(await self._round())
            await asyncio.sleep(self._said.interval / MICROS)

    async def _round(self) -> str | None:
        """Why there was no beat; None where there was one."""
        try:
            still = await asyncio.to_thread(self._look)
        except DependencyError as error:
            return str(error)
        if still:
            seconds = self._said.still_after / MICROS
            return f"no progress for {seconds:g} s, or none yet since this worker began: {', '.join(still)}"
        beat = Beat(self._settings.group_prefix, self._now(), self._said.interval, tuple(WATCHED))
        delivery = await self._receiver.beat(beat)
        return None if delivery.ok else f"{self._said.receiver}: {delivery.detail}"

    def _look(self) -> list[str]:
        """The stages that stand still. Raises DependencyError. Connections of its own each time: a look is rare."""
        offsets = Offsets(self._settings.kafka_connection)
        try:
            return [
                stage
                for stage, topics in WATCHED.items()
                if self._progress.stands_still(
                    stage, offsets.committed(self._settings.group(stage), topics), offsets.ends(topics), self._now()
                )
            ]
        finally:
            offsets.close()

    def _say(self, why: str | None) -> None:
        if why == self._silent_because:
            return
        self._silent_because = why
        if why is None:
            log.info("heartbeat to %s beats", self._said.receiver)
        else:
            log.error("no heartbeat to %s: %s", self._said.receiver, why)
