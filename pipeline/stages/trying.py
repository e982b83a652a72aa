"""Sends until it is taken or given up, and lets what is said at one place be said in order.

A page that cannot be delivered is tried again with growing pauses, in a task of its own: only what is said later at the
same place (the same incident, rule and receiver) waits for it. Past the retry policy's deadline it is given up, because
elements that are held for ever would at last stop every other page.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from alerts.outbox import Notification
from alerts.page import Told
from alerts.receivers import Delivery, Receiver
from alerts.retry import RetryPolicy
from pipeline.stages.again import Place, ids_of
from schemas.incidents import Incident

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Turn:
    """First come, first told; `users` have it or wait for it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Trying:
    """`waits` is told, each time that changes, which receivers are waited for."""

    def __init__(self, receivers: Mapping[str, Receiver], retry: RetryPolicy, waits: Callable[[str], None]) -> None:
        self._receivers, self._retry, self._waits = receivers, retry, waits
        self._turns: dict[Place, _Turn] = {}
        self._pausing: dict[str, str] = {}  # dedup key -> receiver

    @asynccontextmanager
    async def turn(self, place: Place) -> AsyncIterator[None]:
        """The right to speak at a place."""
        turn = self._turns.setdefault(place, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[place]

    async def once(self, notification: Notification, incident: Incident) -> Delivery:
        """One attempt."""
        return await self._receivers[notification.receiver].send(notification, incident)

    async def send(self, notification: Notification, incident: Incident, others: Told = ()) -> Delivery:
        """As many attempts as the policy allows."""
        receiver = self._receivers[notification.receiver]
        loop = asyncio.get_running_loop()
        began = loop.time()
        attempt = 0
        while True:
            attempt += 1
            delivery = await receiver.send(notification, incident, others)
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
                says = "%s does not take a page, trying again: %s"
                log.warning(says, notification.receiver, delivery.detail, extra=ids_of(notification))
            await self._pause(notification, wait)

    async def _pause(self, notification: Notification, seconds: float) -> None:
        self._pausing[notification.dedup_key] = notification.receiver
        self._say()
        try:
            await asyncio.sleep(seconds)
        finally:
            del self._pausing[notification.dedup_key]
            self._say()

    def _say(self) -> None:
        self._waits(", ".join(sorted(set(self._pausing.values()))))
