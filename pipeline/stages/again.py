"""Says again what is open, for receivers (Alertmanager) that take an alert for over when they do not hear of it.

In intervals, as the newest revision is, by the worker that reads the incident's partition; an end is said a few times
more, for a receiver that lost its memory meanwhile. What is open is known after a restart from `notifications.v1`.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from alerts.outbox import Notification
from alerts.receivers import Receiver
from schemas.codecs.single import decode_incident
from schemas.incidents import Incident

log = logging.getLogger(__name__)

ENDS_SAID_AGAIN = 5
Place = tuple[str, str, str, str]  # tenant, incident, rule, receiver: what is said here is said in order


def place_of(notification: Notification) -> Place:
    """Where it is said."""
    return (notification.tenant, notification.incident_id, notification.rule, notification.receiver)


def ids_of(notification: Notification) -> dict[str, str]:
    """By what a line about it is found again: the same as in `notifications.v1` and on the incident's timeline."""
    names = ("tenant", "incident_id", "rule", "receiver", "dedup_key")
    return {name: getattr(notification, name) for name in names}


@dataclass(slots=True)
class _Said:
    notification: Notification
    incident: Incident
    times_left: int | None  # None while it is open


class Again:
    """`turn` is the right to speak at a place: an end must not be overtaken by what was open before it."""

    def __init__(
        self,
        receivers: Mapping[str, Receiver],
        turn: Callable[[Place], AbstractAsyncContextManager[None]],
        partitions: Callable[[], set[int]],
    ) -> None:
        self._receivers, self._turn, self._partitions = receivers, turn, partitions
        self._said: dict[Place, _Said] = {}

    def intervals(self) -> set[float]:
        """Each needs a `run` of its own."""
        found = (receiver.resend_seconds for receiver in self._receivers.values())
        return {seconds for seconds in found if seconds is not None}

    def interval(self, notification: Notification) -> float | None:
        """How often its receiver has to hear of it."""
        receiver = self._receivers.get(notification.receiver)
        return None if receiver is None else receiver.resend_seconds

    def restore(self, records: Iterable[Notification]) -> None:
        """What receivers know to be open; forgets everything else."""
        self._said.clear()
        for record in records:
            if record.incident:
                self.keep(record, decode_incident(record.incident))

    def keep(self, notification: Notification, incident: Incident) -> None:
        """It was told."""
        if notification.state == "sent" and self.interval(notification) is not None:
            times = ENDS_SAID_AGAIN if notification.transition == "resolved" else None
            self._said[place_of(notification)] = _Said(notification, incident, times)

    def renew(self, incident: Incident) -> None:
        """A later revision."""
        for said in self._said.values():
            if (said.notification.tenant, said.notification.incident_id) == (incident.tenant, incident.incident_id):
                said.incident = max(said.incident, incident, key=lambda one: one.revision)

    async def run(self, seconds: float) -> None:
        """Until cancelled. What is not taken now is said with the next interval."""
        while True:
            await asyncio.sleep(seconds)
            mine = self._partitions()
            for place, said in list(self._said.items()):
                if self.interval(said.notification) == seconds and said.notification.partition in mine:
                    await self._say(place, said)

    async def _say(self, place: Place, said: _Said) -> None:
        async with self._turn(place):
            if self._said.get(place) is not said:
                return  # it has ended while we waited
            delivery = await self._receivers[said.notification.receiver].send(said.notification, said.incident)
        if not delivery.ok:
            ids = ids_of(said.notification)
            log.warning("%s was not told again: %s", said.notification.receiver, delivery.detail, extra=ids)
        elif said.times_left is not None:
            said.times_left -= 1
            if said.times_left <= 0 and self._said.get(place) is said:
                del self._said[place]
