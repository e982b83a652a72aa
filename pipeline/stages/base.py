"""What all stages share: one Faust app, elements in order, effects confirmed before they are acknowledged.

The life of an element: 1 `take` reads it and hands its effects on (rows to a writer, messages to a producer);
2 the effect is confirmed, possibly much later and while other elements are taken; 3 the element is confirmed in its
frontier; 4 Faust commits the frontier. Nothing is acknowledged before 2, whatever fails.

No exception leaves the body: Faust acknowledges what raised and goes on (H1), so `fail` ends the process from inside
the `except`, and where it returns (the embedded demo) the body waits for the end and takes no further element.
Stopping: intake ends, what is in hand gets `grace` seconds, the confirmed prefix is committed, the rest is read again.
"""

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import faust
from structlog.contextvars import bound_contextvars

from pipeline.fail_at import end_here
from pipeline.frontier import Element
from pipeline.journal import Journal
from pipeline.settings import MEGABYTE, Settings, check_faust_settings, faust_settings
from pipeline.transport import GAP_SECONDS, BatchConsumer, BatchTransport, Restore, StaleElementError, credentials
from schemas.errors import AftermathError, Outcome, Reason

log = logging.getLogger(__name__)

LEAVE_SECONDS = 8.0

Memory = TypeVar("Memory")
Fail = Callable[["StageError"], None]
Counters = dict[str, dict[Outcome, int]]


class StageError(AftermathError):
    """A stage met what it did not foresee. Nothing was acknowledged; a restart reads it again."""

    exit_code = 70


@dataclass(slots=True)
class Progress:
    """Numbers that a watchdog and a page may read at any time, from any thread."""

    elements: int = 0  # taken
    messages: int = 0  # in them
    confirmed: int = 0  # elements whose effects are confirmed
    newest_ms: int = 0  # stamp of the newest message in them


class Stage(ABC, Generic[Memory]):
    """One stage of one worker. `Memory` is what it remembers of one partition of one epoch."""

    name: ClassVar[str]
    topics: ClassVar[tuple[str, ...]]
    rewinds: ClassVar[bool] = False  # its memory is built by reading again, from the earliest offset on

    def __init__(self, settings: Settings, fail: Fail) -> None:
        self.settings = settings
        self.progress = Progress()
        self.counters: Counters = {}
        self.dead_letters: dict[Reason, int] = {}
        self.error: StageError | None = None
        self.waiting_on = ""  # a dependency that is down: a reason to wait, not to exit
        self._fail = fail
        self._memories: dict[tuple[str, int], Memory] = {}
        self._read_to: dict[tuple[str, int], int] = {}
        self._epoch = 0
        self.journal = Journal(settings.journal_dir, settings.group(self.name))
        self._effects: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_closing = False
        self.is_stopped = False
        self._turn = asyncio.Lock()  # held while the memory changes, or must not
        self._idle = asyncio.Event()
        self._idle.set()
        self.app: Any = None

    # -- what a stage says of itself

    async def open(self) -> None:
        """Get what `take` needs. Raises AftermathError if it cannot."""

    @abstractmethod
    async def take(self, element: Element) -> Awaitable[None] | None:
        """Hand the effects of an element on. Returns what resolves when they are confirmed; None if they are.

        Called in offset order, one at a time. May wait, which holds reading back; must not block the loop. Raises
        StaleElementError where the element was not taken, because its epoch or the stage ended meanwhile.
        """

    async def close(self) -> None:
        """Give back what `open` got."""

    def remember(self, element: Element) -> Memory:
        """The memory of a partition at the beginning of an epoch."""
        raise NotImplementedError(f"{self.name} has no memory")

    async def begin_epoch(self, epoch: int) -> None:
        """Partitions were assigned and reading starts anew: called before the first element of the epoch.

        Raises StaleElementError where the epoch is over already.
        """

    def restorer(self) -> Restore | None:
        """What loads snapshots when partitions are assigned; None where the stage has none. Called in a thread."""
        return None

    async def took(self, element: Element) -> None:
        """After each `take`, before the next: the memory is that of exactly the offsets before `element.end`."""

    async def save_all(self) -> None:
        """Stopping, and everything is confirmed: save what would have to be read again."""

    def fetch_gap_seconds(self) -> float:
        """After everything was read: how long to wait until the next fetch. Called in the consumer's thread."""
        return GAP_SECONDS

    # -- running

    @property
    def is_closing(self) -> bool:
        """Whether it was told to stop: what waits should give up."""
        return self._is_closing

    @property
    def consumer(self) -> BatchConsumer:
        """The consumer. Raises RuntimeError before `start`."""
        if self.app is None:
            raise RuntimeError(f"{self.name} was not started")
        consumer: BatchConsumer = self.app.consumer
        return consumer

    def memory(self, element: Element) -> Memory:
        """What is remembered of the element's partition in its epoch."""
        place = (element.topic, element.partition)
        if place not in self._memories:
            self._memories[place] = self.remember(element)
        return self._memories[place]

    async def start(self) -> None:
        """Begin to join the group and to read. Returns before partitions are assigned."""
        with bound_contextvars(stage=self.name):  # on every line of what begins here
            await self._start()

    async def _start(self) -> None:
        await self.open()
        login = credentials(self.settings.kafka_connection)
        app = self.app = faust.App(**faust_settings(self.settings, self.name), broker_credentials=login)
        check_faust_settings(app.conf)
        app.transport = BatchTransport(
            app,
            rewinds=self.rewinds,
            in_flight_bytes=self.settings.in_flight_mb * MEGABYTE,
            gap_seconds=self.fetch_gap_seconds,
            restore=self.restorer(),
        )
        topic = app.topic(*self.topics, key_serializer="raw", value_serializer="raw")
        app.agent(topic, name=self.name, concurrency=1)(self._body)
        # A task: Faust's start ends with the first assignment, which a broken coordinator never gives.
        self.run_beside(app.start(), "start")

    async def stop(self, grace: float = 15.0) -> bool:
        """Finish what is in hand, commit the confirmed prefix, leave the group. False if something was left over."""
        if self.is_stopped:
            return True
        self._is_closing = True
        is_drained = True
        if self.error is None and self.app is not None:
            async with _Deadline(grace) as deadline:
                await deadline.wait(self._idle.wait())
                await self.finish()
                while self._effects and not deadline.is_over:
                    await deadline.wait(asyncio.wait(set(self._effects)))
                if self._idle.is_set() and not self._effects and not self.app.crashed and self.consumer.frontiers():
                    await deadline.wait(self.save_all())
            is_drained = self._idle.is_set() and not self._effects
            if is_drained and not self.app.crashed and self.consumer.frontiers():
                await self.consumer.commit()
        for task in (*self._tasks, *self._effects):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._effects, return_exceptions=True)
        if self._idle.is_set():  # else a thread still decodes
            is_ours = self.app is not None and self.consumer.epoch == self._epoch
            self.journal.close(forget=is_ours)
        if self.app is not None:
            try:
                async with asyncio.timeout(LEAVE_SECONDS):
                    await self.app.stop()
            except TimeoutError:
                log.error("stage %s did not leave its group in %s s", self.name, LEAVE_SECONDS)
                is_drained = False
        await self.close()
        self.is_stopped = True
        return is_drained

    async def finish(self) -> None:
        """Stopping: no element will come; effects that wait for company should be made now."""

    def run_beside(self, work: Awaitable[None], name: str) -> None:
        """Run a task of this stage that is not driven by elements; if it ends with an error the stage fails."""

        async def watched() -> None:
            try:
                await work
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                self.failed(error, name)

        self._tasks.append(asyncio.create_task(watched(), name=f"{self.name}: {name}"))

    async def _body(self, stream: Any) -> None:
        async for event in stream.noack().events():
            await self._handle(event.value)

    async def _handle(self, element: Element) -> None:
        try:
            if self._is_closing or self.error is not None:
                await _until_cancelled()
            if element.epoch < self.consumer.epoch:
                return  # read before a seek: it comes again
            self._idle.clear()
            async with self._turn:
                await self._follow_epoch()
                if element.epoch == self._epoch:
                    await self._take(element)
        except StaleElementError:
            return
        except (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # polars panics are no Exception
            self.failed_at(element, error)
            await _until_cancelled()
        finally:
            self._idle.set()
            self.consumer.taken(element)

    async def _follow_epoch(self) -> None:
        """Begin the consumer's epoch if it is a new one. Only while `_turn` is held. Raises StaleElementError."""
        epoch = self.consumer.epoch
        if epoch != self._epoch:
            self._memories.clear()
            self._read_to.clear()
            self.journal.close(forget=False)
            self._epoch = epoch
            await self.begin_epoch(epoch)
            mine = sorted(f"{topic}/{partition}" for topic, partition in self.consumer.frontiers())
            ids = {"epoch": epoch, "partitions": ", ".join(mine)}
            log.info("%s reads %s partitions", self.name, len(mine), extra=ids)

    async def _take(self, element: Element) -> None:
        place = (element.topic, element.partition)
        if self._read_to.get(place, element.begin) != element.begin:
            raise StageError(
                f"{element.topic}/{element.partition}: read to {self._read_to[place]}, then from {element.begin}:"
                " an element got lost between; restart this worker."
            )
        effect = await self.take(element)
        self._read_to[place] = element.end
        self.progress.elements += 1
        self.progress.messages += len(element.records)
        self.progress.newest_ms = max(self.progress.newest_ms, element.records[-1].timestamp)
        self._hand_on(element, effect)
        await self.took(element)

    def _hand_on(self, element: Element, effect: Awaitable[None] | None) -> None:
        if effect is None:
            self._confirm(element)
            return

        async def confirmed() -> None:
            try:
                await effect
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                self.failed(error, f"the effects of {element.token}")
            else:
                end_here(f"{self.name}.effects")
                self._confirm(element)

        task = asyncio.create_task(confirmed())
        self._effects.add(task)
        task.add_done_callback(self._effects.discard)

    def _confirm(self, element: Element) -> None:
        if self.error is None and self.consumer.confirm(element):
            self.progress.confirmed += 1
            end_here(f"{self.name}.acknowledged")

    def failed_at(self, element: Element, error: BaseException) -> None:
        """An element could not be read: count it, and end the process, or where that is not wanted the stage."""
        self._count(element.topic, Outcome.FAILED, len(element.records))
        self.failed(error, f"{element.topic}/{element.partition} at offset {element.begin}")

    def failed(self, error: BaseException, where: str) -> None:
        """End the process, or where that is not wanted the stage. Nothing after this is acknowledged."""
        if self.error is not None:
            return
        if isinstance(error, StageError):
            self.error = error
        else:
            self.error = StageError(
                f"Stage {self.name} failed at {where}: {type(error).__name__}: {str(error)[:500]}."
                " Nothing was acknowledged; see the log, mend it, and restart."
            )
        log.critical("stage %s failed at %s", self.name, where, exc_info=error, extra={"stage": self.name})
        self._fail(self.error)

    def _count(self, topic: str, outcome: Outcome, number: int) -> None:
        counts = self.counters.setdefault(topic, dict.fromkeys(Outcome, 0))
        counts[outcome] += number

    def _count_dead_letter(self, reason: Reason, number: int = 1) -> None:
        self.dead_letters[reason] = self.dead_letters.get(reason, 0) + number

    # -- how it is

    def is_caught_up(self, ends: dict[tuple[str, int], int]) -> bool:
        """Whether all effects of everything before these ends are confirmed. False while partitions are unassigned.

        Of a stage that shares its group with other workers this tells only of the partitions it has.
        """
        if self.app is None or self.error is not None or not self._idle.is_set() or self._effects:
            return False
        frontiers = self.consumer.frontiers()
        return bool(frontiers) and all(
            frontiers.get(place, -1) >= end for place, end in ends.items() if place[0] in self.topics
        )

    def lag(self) -> int:
        """Messages known to be in the assigned partitions and not confirmed; any thread may ask."""
        if self.app is None:
            return 0
        consumer = self.consumer
        return sum(max(0, (consumer.end_seen(*tp) or 0) - offset) for tp, offset in consumer.frontiers().items())

    def trouble(self) -> str | None:
        """What is broken for good; any thread may ask."""
        if self.app is None or self._is_closing:
            return None
        if self.app.crashed:
            return f"Faust crashed: {self.app.crash_reason!r}"
        return self.consumer.trouble()


class _Deadline:
    """`wait` until a moment that is set once; what is not done by then is left as it is."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = 0.0

    async def __aenter__(self) -> "_Deadline":
        self._end = asyncio.get_running_loop().time() + self._seconds
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    @property
    def left(self) -> float:
        return max(0.0, self._end - asyncio.get_running_loop().time())

    @property
    def is_over(self) -> bool:
        return self.left <= 0

    async def wait(self, work: Awaitable[object]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.left):
                await work


async def _until_cancelled() -> None:
    await asyncio.Event().wait()


__all__ = ["Counters", "Fail", "Progress", "Stage", "StageError"]
