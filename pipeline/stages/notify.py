"""notify: incidents.v1 -> alert rules -> receivers, each page once; what was told is kept in notifications.v1.

For each revision: 1 the outbox decides; 2 each notification is recorded as pending; 3 it is sent; 4 how it went is
recorded; then the element is confirmed. A crash between 3 and 4 sends again with the same dedup key, which a receiver
folds: in doubt, send. At the beginning of an epoch notifications.v1 is read from its start, so that what any worker has
sent is known.

A page that cannot be delivered is tried again with growing pauses, in a task of its own: only what is said later of the
same incident by the same rule to the same receiver waits for it. Past the retry policy's deadline it is recorded as
failed and counted, because elements that are held for ever would at last stop every other page.

Some receivers (Alertmanager) take an alert for over when it is not said again: what is open is sent to them in
intervals, as its newest revision is, by the worker that reads the incident's partition.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
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
from schemas.codecs.single import decode, decode_incident, encode, encode_incident
from schemas.incidents import Incident
from schemas.times import MINUTE
from schemas.topics import INCIDENTS, NOTIFICATIONS

log = logging.getLogger(__name__)

REMEMBER = 8 * 24 * 60 * MINUTE  # longer than incidents.v1 is kept
EXPIRE_EVERY = 60 * MINUTE  # of event time
ENDS_SAID_AGAIN = 5  # times, for a receiver that lost its memory meanwhile

Place = tuple[str, str, str, str]  # tenant, incident, rule, receiver: what is said here is said in order


@dataclass(slots=True)
class _Turn:
    """First come, first told; `users` have it or wait for it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


@dataclass(slots=True)
class _Said:
    """What a receiver has to hear again; `times_left` is None while it is open."""

    notification: Notification
    incident: Incident
    times_left: int | None


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
        self._said: dict[Place, _Said] = {}
        self._expired_at = 0
        self._publisher: Publisher | None = None

    async def open(self) -> None:
        self._publisher = Publisher(self.settings.kafka_connection, self.settings.group(self.name))
        intervals = [receiver.resend_seconds for receiver in self._receivers.values()]
        for seconds in {seconds for seconds in intervals if seconds is not None}:
            self.run_beside(self._say_again(seconds), "say again")

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
        self._said = {}
        for record in self._outbox.open_ones():
            if record.incident:
                self._keep_said(record, decode_incident(record.incident))

    async def take(self, element: Element) -> Awaitable[None] | None:
        tasks: list[asyncio.Task[None]] = []
        pending: list[Notification] = []
        for record in element.records:
            if record.value is None:
                continue
            incident = decode_incident(record.value)
            self._renew_said(incident)
            for decided in self._outbox.decide(incident):
                notification = replace(decided, partition=element.partition)
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
        async with self._turn_of(_place(notification)):
            await self._record(notification)
            end_here("notify.pending")
            delivery = await self._send(notification, incident)
            end_here("notify.sent")
            done = self._done(notification, incident, delivery)
            await self._record(done)
            self._outbox.record(done)
            self._keep_said(done, incident)
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

    @asynccontextmanager
    async def _turn_of(self, place: Place) -> AsyncIterator[None]:
        turn = self._turns.setdefault(place, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[place]

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

    def _done(self, notification: Notification, incident: Incident, delivery: Delivery) -> Notification:
        """The record of how it went; with the incident where it will have to be said again."""
        is_said_again = notification.transition == "firing" and self._interval(notification) is not None
        return replace(
            notification,
            state="sent" if delivery.ok else "failed",
            detail=delivery.detail,
            reference=delivery.reference or notification.reference,
            incident=encode_incident(incident) if delivery.ok and is_said_again else b"",
        )

    def _interval(self, notification: Notification) -> float | None:
        receiver = self._receivers.get(notification.receiver)
        return None if receiver is None else receiver.resend_seconds

    def _keep_said(self, notification: Notification, incident: Incident) -> None:
        if notification.state == "sent" and self._interval(notification) is not None:
            times = ENDS_SAID_AGAIN if notification.transition == "resolved" else None
            self._said[_place(notification)] = _Said(notification, incident, times)

    def _renew_said(self, incident: Incident) -> None:
        for said in self._said.values():
            if (said.notification.tenant, said.notification.incident_id) == (incident.tenant, incident.incident_id):
                said.incident = max(said.incident, incident, key=lambda one: one.revision)

    async def _say_again(self, seconds: float) -> None:
        """What is open, and for a while what has ended. One that is not taken now is sent with the next interval."""
        while True:
            await asyncio.sleep(seconds)
            mine = {partition for _, partition in self.consumer.frontiers()}
            for place, said in list(self._said.items()):
                notification = said.notification
                if self._interval(notification) != seconds or notification.partition not in mine:
                    continue
                async with self._turn_of(place):
                    if self._said.get(place) is not said:
                        continue  # it has ended while we waited
                    delivery = await self._receivers[notification.receiver].send(notification, said.incident)
                if not delivery.ok:
                    log.warning("%s was not told again: %s", notification.receiver, delivery.detail)
                elif said.times_left is not None:
                    said.times_left -= 1
                    if said.times_left <= 0 and self._said.get(place) is said:
                        del self._said[place]

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


def _place(notification: Notification) -> Place:
    return (notification.tenant, notification.incident_id, notification.rule, notification.receiver)


async def _all_of(tasks: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks)
