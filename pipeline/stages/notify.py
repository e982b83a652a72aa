"""notify: incidents.v1 -> alert rules -> receivers, each page once; what was told is kept in notifications.v1.

For each revision: 1 the outbox decides; 2 each notification is recorded as pending; 3 it is sent; 4 how it went is
recorded; then the element is confirmed. A crash between 3 and 4 sends again with the same dedup key, which a receiver
folds: in doubt, send. At the beginning of an epoch notifications.v1 is read from its start, so that what any worker has
sent is known.

A page that cannot be delivered is tried again (`trying.py`); given up, it is recorded as failed and counted.

With `routes.yml`, and for rules that wait for a clock (`for`), the router decides who is told and when (`dispatch.py`,
alerts/routing): a revision is acknowledged once what is to be told of it is recorded. Groups, and what rules know of
earlier incidents, are a worker's own: where either spans incidents let one worker run notify, and others stand by.

Rules with an action give their controls beside all that (`acting.py`); the revision is confirmed when Kafka has them.
Rules that change on disk come into force while it runs (`rule_watch.py`); broken ones do not, and are told of.
A dead-man service hears of it for as long as the way from an event to a page is open (`heartbeat.py`).
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from alerts.outbox import Notification, Outbox
from alerts.page import Pages
from alerts.receivers import Delivery, Receiver
from alerts.receivers.heartbeat import beating
from alerts.rehearsal import needs_router
from alerts.retry import RetryPolicy
from alerts.routing.files import Routes
from alerts.routing.mutes import silence_of
from alerts.routing.router import Router
from alerts.rules.broken import RULE_ID, broken, name_of, own_rule
from alerts.rules.model import Rule
from pipeline.clock import now_micros
from pipeline.fail_at import end_here
from pipeline.frontier import Element
from pipeline.settings import Settings
from pipeline.stages.acting import Acting
from pipeline.stages.again import Again, ids_of, place_of
from pipeline.stages.asking import Ask, Asking
from pipeline.stages.base import Fail, Stage
from pipeline.stages.dispatch import Dispatch
from pipeline.stages.heartbeat import Heartbeat
from pipeline.stages.publish import Outgoing, Publisher
from pipeline.stages.read_back import follow_topic, read_whole_topic
from pipeline.stages.rule_watch import RuleWatch
from pipeline.stages.trying import Trying
from pipeline.transport import StaleElementError
from schemas.codecs.single import UnreadableError, decode, decode_incident, encode, encode_incident
from schemas.incidents import Incident
from schemas.oncall import Acknowledgement, Silencing, decode_word
from schemas.times import MINUTE
from schemas.topics import INCIDENTS, NOTIFICATIONS, ONCALL

log = logging.getLogger(__name__)

REMEMBER = 8 * 24 * 60 * MINUTE  # longer than incidents.v1 is kept
EXPIRE_EVERY = 60 * MINUTE  # of event time
FOLLOW_SECONDS = 0.2


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
        routes: Routes | None = None,
        watch: RuleWatch | None = None,
        pages: Pages | None = None,
        ask: Ask | None = None,
        now: Callable[[], int] = now_micros,
    ) -> None:
        super().__init__(settings, fail)
        self.sent = 0
        self.given_up = 0
        self.not_sent: Counter[str] = Counter()  # by reason: alerts.routing.mutes.Reason
        self._watch = watch
        self._pages = pages or Pages()
        self._broken = ""  # the incident that tells of rules which cannot be used: those before are in force
        self._use(rules)
        self._renewable = frozenset(name for name, receiver in receivers.items() if receiver.can_renew)
        self._trying = Trying(receivers, retry or RetryPolicy(), self._waits)
        self._routes = routes
        self._now = now
        self._dispatch: Dispatch | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._acting = Acting(settings.kafka_connection, self._rules)
        self._outbox = Outbox(self._rules)
        self._asking = None if ask is None else Asking(ask, now, self._tell_row, self._is_first)
        self._heartbeat = self._heart(settings, receivers)
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._again = Again(receivers, self._trying.turn, lambda: {number for _, number in self.consumer.frontiers()})
        self._expired_at = 0
        self._publisher: Publisher | None = None

    async def open(self) -> None:
        self._publisher = Publisher(self.settings.kafka_connection, self.settings.group(self.name))
        for seconds in self._again.intervals():
            self.run_beside(self._again.run(seconds), "say again")
        self.run_beside(self._follow_partitions(), "follow partitions")
        if self._routes is not None:
            self.run_beside(self._listen(), "listen")
        if self._watch is not None:
            self.run_beside(self._watch_rules(self._watch), "watch rules")
        if self._asking is not None:
            self.run_beside(self._asking.run(), "query rules")
        if self._heartbeat is not None:
            self.run_beside(self._heartbeat.run(), "heartbeat")

    def _heart(self, settings: Settings, receivers: Mapping[str, Receiver]) -> Heartbeat | None:
        said = None if self._routes is None else self._routes.heartbeat
        if said is None:
            return None
        return Heartbeat(settings, said, beating(receivers, said.receiver), self._now, self._is_first)

    async def close(self) -> None:
        await self._stop_dispatch()
        for task in self._under_way.values():
            task.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        if self._publisher is not None:
            await self._publisher.close()

    async def begin_epoch(self, epoch: int) -> None:
        await self._stop_dispatch()
        router = Router(self._routes, self._rules)
        self._outbox = Outbox(self._rules, router.destinations)
        await self._look_back()
        async for value in read_whole_topic(self.settings.kafka_connection, NOTIFICATIONS):
            self._outbox.restore(decode(value)[1])
        self._again.restore(self._outbox.open_ones())
        await self._start_dispatch(router)
        if self._asking is not None:
            self._asking.use(self._rules, self._outbox.records())
        for record in self._outbox.open_ones():
            if record.rule == RULE_ID and record.incident_id != self._broken:
                await self._tell_of_rules(record.incident_id, ())

    async def _look_back(self) -> None:
        if self._outbox.looks_back:
            async for value in read_whole_topic(self.settings.kafka_connection, INCIDENTS):
                with suppress(UnreadableError):  # `take` meets it too, and names its place
                    self._outbox.note(decode_incident(value))

    def _use(self, rules: Sequence[Rule]) -> None:
        self._rules = (own_rule(rules), *rules) if self._watch is not None else tuple(rules)
        self._by_id = {rule.id: rule for rule in self._rules}
        self._pages.use(self._rules)

    async def _watch_rules(self, watch: RuleWatch) -> None:
        """Rules that are changed come into force, each from its `effective_from` on; broken ones are told of."""
        while True:
            await asyncio.sleep(self.settings.rules_seconds)
            changed = await asyncio.to_thread(watch.look)
            if changed is None or self._dispatch is None:
                continue
            async with self._turn:  # not in the middle of an element
                before, self._broken = self._broken, ""
                if not changed.faults:
                    self._use(changed.rules)
                    self._outbox.use(self._rules)
                    self._acting.use(self._rules)
                    self._dispatch.router.use(self._rules)
                    await self._look_back()
                    if self._asking is not None:
                        self._asking.use(self._rules, self._outbox.records())
                    log.warning("notify goes by changed rules: %s", ", ".join(rule.id for rule in changed.rules))
                if changed.faults:
                    log.error("the alert rules cannot be used, those before are in force: %s", changed.faults[0])
                    self._broken = name_of(changed.faults, self._now())
                    await self._tell_of_rules(self._broken, changed.faults)
                if before:
                    await self._tell_of_rules(before, ())

    async def _tell_of_rules(self, incident_id: str, faults: Sequence[str]) -> None:
        if self._is_first():
            await self._decide(broken(incident_id, self.settings.tenant, self._now(), faults), 0)

    async def _tell_row(self, incident: Incident) -> None:
        """A row of a query rule: from here on an alert like every other."""
        async with self._turn:
            await self._decide(incident, 0)

    def _waits(self, receivers: str) -> None:
        self.waiting_on = receivers

    def _is_first(self) -> bool:
        """Whether this is the one worker that does what is to be done once: it reads partition 0."""
        return self._dispatch is not None and any(partition == 0 for _, partition in self.consumer.frontiers())

    async def _start_dispatch(self, router: Router) -> None:
        async for value in read_whole_topic(self.settings.kafka_connection, ONCALL):
            _hear(router, decode_word(value))
        self._dispatch = Dispatch(router, self._now, self._trying.send, self._keep, self.not_sent)
        self._dispatch.restore(self._outbox, {partition for _, partition in self.consumer.frontiers()})
        self._flushing = asyncio.create_task(self._dispatch.run())
        self._flushing.add_done_callback(self._flushing_ended)

    async def _stop_dispatch(self) -> None:
        if self._flushing is not None and self._dispatch is not None:
            self._flushing.cancel()
            await asyncio.gather(self._flushing, return_exceptions=True)
            await self._dispatch.close()
            self._flushing = self._dispatch = None

    def _flushing_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed(error, "dispatch")

    async def _follow_partitions(self) -> None:
        """What is still to be told after a restart does not wait for the next incident."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            if not self._is_closing and self.consumer.epoch != self._epoch and self.consumer.frontiers():
                async with self._turn:
                    with suppress(StaleElementError):
                        await self._follow_epoch()

    async def _listen(self) -> None:
        """Silences and acknowledgements as people give them."""
        async for value in follow_topic(self.settings.kafka_connection, ONCALL):
            if self._dispatch is not None:
                _hear(self._dispatch.router, decode_word(value))

    async def take(self, element: Element) -> Awaitable[None] | None:
        tasks: list[asyncio.Task[None]] = []
        for record in element.records:
            if record.value is not None:
                incident = decode_incident(record.value)
                self._again.renew(incident)
                if self._acting.is_asked(incident):
                    tasks.append(asyncio.create_task(self._acting.act(incident, self._publish)))
                tasks += await self._decide(incident, element.partition)
                await self._expire(incident.updated_at)
        return _all_of(tasks) if tasks else None

    async def _decide(self, incident: Incident, partition: int) -> list[asyncio.Task[None]]:
        """Hand on what is to be told of a revision; what waits for routing is recorded when this returns."""
        tasks = []
        if self._dispatch is not None:
            self._dispatch.router.renew(incident)
        for decided in self._outbox.decide(incident):
            notification = replace(decided, partition=partition)
            if self._dispatch is not None and self._needs_router(notification):
                await self._dispatch.take(notification, incident)
                continue
            task = self._under_way.get(notification.dedup_key)
            if task is None:
                task = asyncio.create_task(self._deliver(notification, incident))
                self._under_way[notification.dedup_key] = task
                task.add_done_callback(partial(self._is_done, notification.dedup_key))
            tasks.append(task)
        for renewed in self._outbox.renewed(incident, self._renewable):
            if renewed.dedup_key not in self._under_way:
                task = asyncio.create_task(self._renew(renewed, incident))
                self._under_way[renewed.dedup_key] = task
                task.add_done_callback(partial(self._is_done, renewed.dedup_key))
        if self._dispatch is not None:
            await self._dispatch.lapse(self._outbox.lapsed(incident), incident)
        return tasks

    def _needs_router(self, notification: Notification) -> bool:
        return needs_router(self._by_id.get(notification.rule), notification, is_routed=self._routes is not None)

    def _is_done(self, key: str, task: asyncio.Task[None]) -> None:
        self._under_way.pop(key, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed(error, "a delivery")  # also of alerts that no element waits for

    async def _renew(self, notification: Notification, incident: Incident) -> None:
        """One attempt: what does not succeed is tried with the next revision, and no element waits for it."""
        async with self._trying.turn(place_of(notification)):
            delivery = await self._trying.once(notification, incident)
            if delivery.ok:
                done = self._done(notification, incident, delivery)
                await self._record(done)
                self._outbox.record(done)
            else:
                shows = "%s shows an older revision: %s"
                log.warning(shows, notification.receiver, delivery.detail, extra=ids_of(notification))

    async def _deliver(self, notification: Notification, incident: Incident) -> None:
        async with self._trying.turn(place_of(notification)):
            await self._record(notification)
            end_here("notify.pending")
            delivery = await self._trying.send(notification, incident)
            end_here("notify.sent")
            done = self._done(notification, incident, delivery)
            await self._record(done)
            self._outbox.record(done)
            self._again.keep(done, incident)
        self._count_sent(done)

    def _done(self, notification: Notification, incident: Incident, delivery: Delivery) -> Notification:
        """The record of how it went; with the incident where it will have to be said again."""
        is_kept = delivery.ok and notification.transition == "firing" and self._again.interval(notification) is not None
        return replace(
            notification,
            state="sent" if delivery.ok else "failed",
            detail=delivery.detail,
            reference=delivery.reference or notification.reference,
            incident=encode_incident(incident) if is_kept else b"",
        )

    async def _keep(self, notification: Notification, incident: Incident) -> None:
        """A record of routing: in Kafka, then in the outbox."""
        await self._record(notification)
        self._outbox.record(notification)
        self._again.keep(notification, incident)
        self._count_sent(notification)

    def _count_sent(self, one: Notification) -> None:
        if one.state == "sent":
            self.sent += 1
            log.info("%s was told: %s", one.receiver, one.transition, extra=ids_of(one))
        elif one.state == "failed":
            self.given_up += 1
            log.error("%s was not told: %s: %s", one.receiver, one.transition, one.detail, extra=ids_of(one))

    async def _record(self, notification: Notification) -> None:
        record: dict[str, Any] = notification.as_record()
        await self._publish([Outgoing(NOTIFICATIONS.name, encode("notification", record), _key(notification))])

    async def _publish(self, records: Sequence[Outgoing]) -> None:
        if self._publisher is None:
            raise RuntimeError("notify is not open: start() opens it before it reads")
        await (await self._publisher.send(records))

    async def _expire(self, at: int) -> None:
        """Let go of pages that are long done, here and in the compacted topic, which else would grow for ever."""
        if at - self._expired_at <= EXPIRE_EVERY:
            return
        self._expired_at = at
        done = self._outbox.expire(at - REMEMBER)
        if done:
            await self._publish([Outgoing(NOTIFICATIONS.name, None, _key(record)) for record in done])
            log.info("%s pages that are done were let go of", len(done))


def _key(notification: Notification) -> bytes:
    """Of its record, and of the tombstone that ends it."""
    return f"{notification.tenant}/{notification.dedup_key}".encode()


def _hear(router: Router, word: Silencing | Acknowledgement) -> None:
    if isinstance(word, Acknowledgement):
        router.acknowledge(word.tenant, word.incident_id)
    else:
        router.silence(silence_of(word))


async def _all_of(tasks: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks)
