"""notify: incidents.v1 -> alert rules -> receivers, each page once; what was told is kept in notifications.v1.

For each revision: 1 the outbox decides; 2 each notification is recorded as pending; 3 it is sent; 4 how it went is
recorded; then the element is confirmed. A crash between 3 and 4 sends again with the same dedup key, which a receiver
folds: in doubt, send. At the beginning of an epoch notifications.v1 is read from its start, so that what any worker has
sent is known.

A page that cannot be delivered is tried again with growing pauses, in a task of its own: only what is said later of the
same incident by the same rule to the same receiver waits for it. Past the retry policy's deadline it is recorded as
failed and counted, because elements that are held for ever would at last stop every other page.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from alerts.outbox import Notification, Outbox
from alerts.receivers import Delivery, Receiver
from alerts.retry import RetryPolicy
from alerts.rules.model import Rule
from pipeline.fail_at import end_here
from pipeline.frontier import Element
from pipeline.settings import Settings
from pipeline.stages.base import Fail, Stage
from pipeline.stages.publish import Outgoing, Publisher
from pipeline.stages.read_back import read_whole_topic
from schemas.codecs.single import decode, decode_incident, encode
from schemas.incidents import Incident
from schemas.times import MINUTE
from schemas.topics import INCIDENTS, NOTIFICATIONS

log = logging.getLogger(__name__)

REMEMBER = 8 * 24 * 60 * MINUTE  # longer than incidents.v1 is kept
EXPIRE_EVERY = 60 * MINUTE  # of event time

Place = tuple[str, str, str, str]  # tenant, incident, rule, receiver: what is said here is said in order


@dataclass(slots=True)
class _Turn:
    """First come, first told; `users` have it or wait for it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Notify(Stage[None]):
    """One worker's share of incidents.v1."""

    name = "notify"
    topics = (INCIDENTS.name,)

    def __init__(
        self,
        settings: Settings,
        fail: Fail,
        *,
        rules: Sequence[Rule],
        receivers: Mapping[str, Receiver],
        retry: RetryPolicy | None = None,
    ) -> None:
        super().__init__(settings, fail)
        self.sent = 0
        self.given_up = 0
        self._rules = rules
        self._receivers = receivers
        self._retry = retry or RetryPolicy()
        self._outbox = Outbox(rules)
        self._turns: dict[Place, _Turn] = {}
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._retrying: dict[str, str] = {}  # dedup key -> receiver
        self._expired_at = 0
        self._publisher: Publisher | None = None

    async def open(self) -> None:
        self._publisher = Publisher(self.settings.kafka_connection, self.settings.group(self.name))

    async def close(self) -> None:
        for task in self._under_way.values():
            task.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        if self._publisher is not None:
            await self._publisher.close()

    async def begin_epoch(self, epoch: int) -> None:
        self._outbox = Outbox(self._rules)
        async for value in read_whole_topic(self.settings.kafka_connection, NOTIFICATIONS):
            self._outbox.restore(decode(value)[1])

    async def take(self, element: Element) -> Awaitable[None] | None:
        tasks: list[asyncio.Task[None]] = []
        pending: list[Notification] = []
        for record in element.records:
            if record.value is None:
                continue
            incident = decode_incident(record.value)
            for notification in self._outbox.decide(incident):
                task = self._under_way.get(notification.dedup_key)
                if task is None:
                    pending.append(notification)
                    task = asyncio.create_task(self._deliver(notification, incident))
                    self._under_way[notification.dedup_key] = task
                    task.add_done_callback(partial(self._is_done, notification.dedup_key))
                tasks.append(task)
            self._expire(incident.updated_at)
        return _all_of(tasks) if tasks else None

    def _is_done(self, key: str, _: asyncio.Task[None]) -> None:
        self._under_way.pop(key, None)

    async def _deliver(self, notification: Notification, incident: Incident) -> None:
        place = (notification.tenant, notification.incident_id, notification.rule, notification.receiver)
        turn = self._turns.setdefault(place, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                await self._record(notification)
                end_here("notify.pending")
                delivery = await self._send(notification, incident)
                end_here("notify.sent")
                done = replace(notification, state="sent" if delivery.ok else "failed", detail=delivery.detail)
                await self._record(done)
                self._outbox.record(done)
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[place]
        if delivery.ok:
            self.sent += 1
        else:
            self.given_up += 1
            log.error(
                "not sent: %s to %s (rule %s, incident %s): %s",
                notification.transition,
                notification.receiver,
                notification.rule,
                notification.incident_id,
                delivery.detail,
            )

    async def _send(self, notification: Notification, incident: Incident) -> Delivery:
        receiver = self._receivers[notification.receiver]
        loop = asyncio.get_running_loop()
        began = loop.time()
        attempt = 0
        while True:
            attempt += 1
            delivery = await receiver.send(notification, incident)
            wait = self._retry.wait(
                delivery,
                attempt=attempt,
                elapsed_seconds=loop.time() - began,
                severity=notification.severity,
                random=random.random,
            )
            if wait is None:
                return delivery
            if attempt == 1:
                log.warning("%s does not take a page, trying again: %s", notification.receiver, delivery.detail)
            await self._pause(notification, wait)

    async def _pause(self, notification: Notification, seconds: float) -> None:
        self._retrying[notification.dedup_key] = notification.receiver
        self.waiting_on = ", ".join(sorted(set(self._retrying.values())))
        try:
            await asyncio.sleep(seconds)
        finally:
            del self._retrying[notification.dedup_key]
            self.waiting_on = ", ".join(sorted(set(self._retrying.values())))

    async def _record(self, notification: Notification) -> None:
        if self._publisher is None:
            raise RuntimeError("notify is not open: start() opens it before it reads")
        record: dict[str, Any] = notification.as_record()
        key = f"{notification.tenant}/{notification.dedup_key}".encode()
        await (await self._publisher.send([Outgoing(NOTIFICATIONS.name, encode("notification", record), key)]))

    def _expire(self, at: int) -> None:
        if at - self._expired_at > EXPIRE_EVERY:
            self._expired_at = at
            self._outbox.expire(at - REMEMBER)


async def _all_of(tasks: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks)
