"""The router's hands, for notify: keeps its records, waits until groups are due, sends their messages.

1 what the outbox decided is recorded as held, with the incident, and then the revision may be acknowledged; 2 when its
group is due, what one message tells is recorded as pending under the message's id; 3 the message is sent; 4 how it went
is recorded. A crash between 3 and 4 sends the same message again, under the same id.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from alerts.outbox import Notification, Outbox
from alerts.page import Told
from alerts.receivers import Delivery
from alerts.routing.restoring import restore
from alerts.routing.router import Message, Router
from pipeline.fail_at import end_here
from schemas.codecs.single import encode_incident
from schemas.incidents import Incident
from schemas.times import MICROS

LONGEST_WAIT_SECONDS = 5.0  # a clock that is set must not make a page wait for hours
Send = Callable[[Notification, Incident, Told], Awaitable[Delivery]]
Record = Callable[[Notification, Incident], Awaitable[None]]


class Dispatch:
    """One worker's share. `send` tries until it is told or given up; `record` returns when Kafka has it."""

    def __init__(
        self, router: Router, now: Callable[[], int], send: Send, record: Record, not_sent: Counter[str]
    ) -> None:
        self.router = router
        self._now, self._send, self._record, self._not_sent = now, send, record, not_sent
        self._wake = asyncio.Event()
        self._under_way: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None

    async def take(self, notification: Notification, incident: Incident) -> None:
        """Keep a decision of the outbox."""
        held = self.router.take(notification, incident, self._now())
        if held is not None:
            await self._record(_with(held, incident), incident)
            self._wake.set()

    async def lapse(self, held: Sequence[Notification], incident: Incident) -> None:
        """What is held though its rule matches no more."""
        for notification in held:
            if (record := self.router.lapse(notification)) is not None:
                self._not_sent[record.reason] += 1
                await self._record(record, incident)

    def restore(self, outbox: Outbox, partitions: set[int]) -> None:
        """After a restart: what receivers know, and what is still to be told, of the incidents of these partitions."""
        restore(self.router, outbox, partitions, self._now())
        self._wake.set()

    async def run(self) -> None:
        """Look at groups when they are due, until cancelled. Raises what a delivery raised: a receiver's no is none."""
        while True:
            self._wake.clear()
            if self._error is not None:
                raise self._error
            flush = self.router.flush(self._now())
            for record, incident in flush.records:
                self._not_sent[record.reason] += 1
                await self._record(_with(record, incident) if record.state == "held" else record, incident)
            for message in flush.messages:
                task = asyncio.create_task(self._deliver(message))
                self._under_way.add(task)
                task.add_done_callback(self._delivered)
            due = self.router.next_due()
            wait = LONGEST_WAIT_SECONDS if due is None else (due - self._now()) / MICROS
            with suppress(TimeoutError):
                async with asyncio.timeout(min(max(wait, 0.0), LONGEST_WAIT_SECONDS)):
                    await self._wake.wait()

    def _delivered(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._error = task.exception()
            self._wake.set()

    async def close(self) -> None:
        """Give up what is under way: it is recorded as pending, and sent again after the restart."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _deliver(self, message: Message) -> None:
        pending = [
            (_with(replace(one, state="pending", message=message.message_id), incident), incident)
            for one, incident in message.changes
        ]
        for record, of in pending:
            await self._record(record, of)
        end_here("notify.pending")
        lead, incident = message.lead
        delivery = await self._send(lead, incident, message.alerts[1:])
        end_here("notify.sent")
        now = self._now()
        done = [_done(record, delivery, now) for record, _ in pending]
        for record, (_, of) in zip(done, pending, strict=True):
            await self._record(record, of)
        if not message.changes and delivery.ok:  # a repetition: when it was, so that a restart does not repeat it
            for one, of in message.alerts:
                await self._record(_with(replace(one, told_at=now), of), of)
        self.router.told(message, now, done)
        self._wake.set()


def _with(record: Notification, incident: Incident) -> Notification:
    return replace(record, incident=encode_incident(incident))


def _done(record: Notification, delivery: Delivery, now: int) -> Notification:
    is_open = record.transition == "firing" and delivery.ok
    return replace(
        record,
        state="sent" if delivery.ok else "failed",
        detail=delivery.detail,
        reason="",
        reference=delivery.reference or record.reference,
        told_at=now,
        incident=record.incident if is_open else b"",
    )
