"""Wires everything together: the whole flow in one place.

    OTLP over HTTP (`run --otlp`), or the Collector
        -> otlp_spans, otlp_metrics, otlp_logs
        -> ingest    -> the three topics below, dead_letters.v1 (not where they hold a recording)
    agent.traces.v1, system.metrics.v1, cluster.events.v1
        -> detect    -> signals.v1, dead_letters.v1
        -> archive   -> ClickHouse: agent_traces, system_metrics, cluster_events
    signals.v1
        -> correlate -> incidents.v1, facts.v1
        -> record    -> ClickHouse: signals, agent_usage
    incidents.v1
        -> notify    -> receivers, notifications.v1
        -> record    -> ClickHouse: incidents, incident_revisions, incident_timeline
    notifications.v1, agent.controls.v1, limits.v1, dead_letters.v1
        -> record    -> ClickHouse: notifications, controls, limits_loosened, dead_letters

A `Pipeline` runs any of the stages in one event loop; `run_worker` is a process that does so until it is told to stop.
Exit codes of a worker: 0 stopped and everything in hand confirmed, 70 a stage or the watchdog ended it, 75 it did not
stop in time, 1 anything else. The supervisor restarts it on any but 0: nothing unconfirmed was committed.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from alerts.page import Links, Pages
from alerts.receivers import ReceiverConfig, build
from alerts.routing.files import load_routes
from alerts.rules.files import SHIPPED, load_rules, require_receivers
from alerts.rules.queries import MOST_ROWS
from pipeline.clock import now_micros
from pipeline.core.panes import TimeRules
from pipeline.health_http import health_application
from pipeline.limits import load_limits
from pipeline.listening import Port
from pipeline.offsets import Offsets
from pipeline.otlp_http import OtlpHttp
from pipeline.owners import load_owners
from pipeline.publishing_limits import publish_limits
from pipeline.settings import STAGE_NAMES, Settings
from pipeline.stages.archive import Archive
from pipeline.stages.base import Counters, Fail, Stage, StageError
from pipeline.stages.batching import TableWriter
from pipeline.stages.correlate import Correlate
from pipeline.stages.detect import Detect
from pipeline.stages.ingest import Ingest
from pipeline.stages.notify import Notify
from pipeline.stages.record import Record
from pipeline.stages.rule_watch import RuleWatch
from pipeline.stages.watchdog import Watchdog
from pipeline.topic_setup import check_topics
from pipeline.transport import self_test
from pipeline.web_page import WebPage
from schemas.errors import ConfigurationError, DependencyError, UsageError
from schemas.topics import BY_NAME

log = logging.getLogger(__name__)

FLOW = ("ingest", "detect", "archive", "correlate", "notify", "record")  # none writes what one before it reads
EXIT_STOPPED, EXIT_CRASHED, EXIT_WATCHDOG, EXIT_DEADLINE = 0, 1, 70, 75
# A thread that comes back from polars or a socket waits so long for one that runs Python: 5 ms, Python's own choice,
# makes of the fifty such calls in a closing pane a quarter of a second wherever aiokafka's thread is busy.
SWITCH_SECONDS = 0.0005
# Rows are dicts of texts and numbers, which need no search for cycles; at Python's own 700 new objects between two
# searches, reading OpenTelemetry spends a third of its time on them.
NEW_OBJECTS = 50_000
DRAIN_SHARE = 0.6  # of the time to stop: for what is in hand; the rest is for leaving the groups
READY_SECONDS = 60.0
ANSWER_GRACE_SECONDS = 5.0  # beyond the time limit of a question: the server ends it first


def build_stage(
    name: str, settings: Settings, fail: Fail, *, writer: Callable[[], TableWriter], out: Any
) -> Stage[Any]:
    """One stage with what it needs. Raises UsageError or ConfigurationError where a file it needs is wrong."""
    rules = TimeRules(lateness=settings.lateness, pane=settings.pane)
    match name:
        case "ingest":
            return Ingest(settings, fail, limits=load_limits(settings.limits_file))
        case "detect":
            limits = load_limits(settings.limits_file)
            return Detect(settings, fail, limits=limits, rules=rules, now=now_micros)
        case "correlate":
            limits = load_limits(settings.limits_file)
            owners = load_owners(settings.owners_file)
            return Correlate(settings, fail, limits=limits, rules=rules, now=now_micros, owners=owners)
        case "record":
            return Record(settings, fail, writer=writer())
        case "archive":
            return Archive(settings, fail, writer=writer(), rules=rules)
        case "notify":
            alert_rules = load_rules(settings.rules_dir or SHIPPED)
            names = settings.receivers.keys()
            routes = None if settings.routes_file is None else load_routes(settings.routes_file, names)
            check = partial(require_receivers, names=names if routes is None else None)
            check(alert_rules)
            pages = Pages(alert_rules, links(settings))
            receivers = build(receiver_configs(settings), now=now_micros, stream=out, pages=pages)
            watch = RuleWatch(settings.rules_dir or SHIPPED, check)
            return Notify(
                settings,
                fail,
                rules=alert_rules,
                receivers=receivers,
                routes=routes,
                watch=watch,
                pages=pages,
                ask=partial(_ask, settings),
            )
    raise ConfigurationError(f"There is no stage {name[:40]!r}; there are {', '.join(STAGE_NAMES)}.")


def receiver_configs(settings: Settings) -> Mapping[str, ReceiverConfig]:
    """The receivers, checked by those who use them. Raises ConfigurationError."""
    try:
        return {name: ReceiverConfig(**dict(entry)) for name, entry in settings.receivers.items()}
    except ValueError as error:
        raise ConfigurationError(f"The receivers are configured wrongly: {error}") from None


def links(settings: Settings) -> Links:
    """Where the links of pages lead. Raises ConfigurationError."""
    try:
        return Links(**dict(settings.links))
    except ValueError as error:
        raise ConfigurationError(f"The links of pages are configured wrongly: {error}") from None


def _ask(settings: Settings, sql: str, seconds: float) -> list[dict[str, Any]]:
    """A question of a query rule, on a connection of its own: they are few, and a server may come and go."""
    from sinks.clickhouse.client import connect

    is_reader = bool(settings.clickhouse_reader)
    password = settings.clickhouse_reader_password if is_reader else settings.clickhouse_password
    client = connect(
        settings.clickhouse_url,
        settings.clickhouse_reader if is_reader else settings.clickhouse_user,
        password.get_secret_value(),
        settings.clickhouse_database,
        ca_file=settings.clickhouse_ca_file,
        timeout=seconds + ANSWER_GRACE_SECONDS,
    )
    try:
        return client.ask(sql, seconds, MOST_ROWS + 1)
    finally:
        client.close()


class Pipeline:
    """Some stages in one event loop.

    on_failure: called once, from whichever thread, when a stage fails. A worker ends its process there; the demo lets
    the pipeline stop (`error` is set, `failed` too).
    """

    def __init__(
        self,
        settings: Settings,
        stages: Sequence[str] | None = None,
        *,
        writer: Callable[[], TableWriter],
        on_failure: Callable[[StageError], None] = lambda _: None,
        console: Any = None,
    ) -> None:
        self.settings = settings
        self.error: StageError | None = None
        self.failed = asyncio.Event()
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._loop = asyncio.get_running_loop()
        self._offsets = Offsets(settings.kafka_connection)
        names = [name for name in stages or settings.stages if name != "ingest" or not settings.recorded]
        if not names:
            raise ConfigurationError("ingest has nothing to do with recorded topics; unset AFTERMATH_RECORDED.")
        self.stages: dict[str, Stage[Any]] = {
            name: build_stage(name, settings, self._fail, writer=writer, out=console) for name in names
        }
        self._watchdog = Watchdog(list(self.stages.values()), self._bitten)

    async def start(self) -> None:
        """Check, join the groups, begin to read. Raises AftermathError where it must not start."""
        self_test()
        logging.getLogger("mode.timers").setLevel(logging.ERROR)  # else it tells of each commit that took its time
        await asyncio.to_thread(check_topics, self.settings)
        try:
            await asyncio.gather(*(stage.start() for stage in self.stages.values()))
        except BaseException:
            await self.stop(grace=0.0)
            raise
        self._watchdog.start()

    async def ready(self, timeout: float = READY_SECONDS) -> None:
        """Wait until each stage was given partitions. Raises StageError or DependencyError where that does not come.

        Only for a pipeline alone in its groups: a worker beyond the number of partitions is never given any.
        """
        end = self._loop.time() + timeout
        while not all(stage.consumer.frontiers() for stage in self.stages.values()):
            self.check()
            if self._loop.time() > end:
                missing = [name for name, stage in self.stages.items() if not stage.consumer.frontiers()]
                raise DependencyError(
                    f"Kafka gave no partitions to {', '.join(missing)} in {timeout:.0f} s;"
                    " check that no other worker has them, and the broker's log."
                )
            await asyncio.sleep(0.05)

    async def stop(self, grace: float | None = None) -> bool:
        """Finish what is in hand, commit, leave the groups. False if something was left to be read again."""
        grace = self.settings.stop_seconds * DRAIN_SHARE if grace is None else grace
        self._watchdog.stop()
        found = await asyncio.gather(*(stage.stop(grace) for stage in self.stages.values()), return_exceptions=True)
        await asyncio.to_thread(self._offsets.close)
        for outcome in found:
            if isinstance(outcome, BaseException):
                log.error("a stage did not stop cleanly", exc_info=outcome)
        return all(outcome is True for outcome in found)

    def check(self) -> None:
        """Raises the StageError that ended the pipeline, if one did."""
        if self.error is not None:
            raise self.error

    @property
    def counters(self) -> Counters:
        """The five outcomes of each input topic, as detect counted them."""
        detect = self.stages.get("detect")
        return {topic: dict(counts) for topic, counts in detect.counters.items()} if detect else {}

    async def is_drained(self) -> bool:
        """Whether everything published so far has gone through all stages here, its effects confirmed.

        Asked in the order of the flow: a stage is asked only when all that feed it are done, and then knows its end.
        """
        self.check()
        for name in FLOW:
            stage = self.stages.get(name)
            if stage is None:
                continue
            ends = await asyncio.to_thread(self._offsets.ends, [BY_NAME[topic] for topic in stage.topics])
            if not stage.is_caught_up(ends):
                return False
        return True

    async def drain(self, timeout: float) -> None:
        """Wait until `is_drained`. Raises StageError where a stage fails, DependencyError where it takes too long."""
        end = self._loop.time() + timeout
        while not await self.is_drained():
            if self._loop.time() > end:
                lags = ", ".join(f"{name} {stage.lag()}" for name, stage in self.stages.items())
                raise DependencyError(f"The stages did not catch up in {timeout:.0f} s; messages waiting: {lags}.")
            await asyncio.sleep(0.05)

    def _bitten(self, name: str, reason: str) -> None:
        self._fail(StageError(f"Stage {name} was ended by the watchdog: {reason}. Restart the worker."))

    def _fail(self, error: StageError) -> None:
        with self._lock:
            if self.error is not None:
                return
            self.error = error
        self._on_failure(error)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.failed.set)


def run_worker(settings: Settings, stages: Sequence[str] | None = None) -> int:
    """Run stages until SIGTERM or SIGINT; returns the exit code. Raises AftermathError where it must not start."""
    return asyncio.run(_work(settings, stages))


def look_for_cycles_rarely() -> None:
    """Of this process; what is there already is not looked at again."""
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS)


async def _work(settings: Settings, stages: Sequence[str] | None) -> int:
    from sinks.clickhouse.client import connect_writer

    sys.setswitchinterval(SWITCH_SECONDS)
    look_for_cycles_rarely()
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    pipeline = Pipeline(
        settings, stages, writer=lambda: connect_writer(settings), on_failure=lambda error: _exit(EXIT_WATCHDOG, error)
    )
    await asyncio.to_thread(_publish_limits, settings)
    await pipeline.start()
    ports = _ports(settings, pipeline)
    try:
        for port in ports:
            await port.start()
    except ConfigurationError:
        await pipeline.stop(grace=0.0)
        raise
    log.info("reading: %s", ", ".join(pipeline.stages))
    await told.wait()
    log.info("told to stop: finishing what is in hand")
    for port in ports:
        await port.stop()
    stopping = asyncio.create_task(pipeline.stop())
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(settings.stop_seconds):
            return EXIT_STOPPED if await asyncio.shield(stopping) else EXIT_DEADLINE
    late = f"Not stopped after {settings.stop_seconds:.0f} s; what was not confirmed is read again."
    _exit(EXIT_DEADLINE, StageError(late))
    return EXIT_DEADLINE


def _ports(settings: Settings, pipeline: Pipeline) -> list[Port | OtlpHttp | WebPage]:
    """What this worker listens on, as configured."""
    found: list[Port | OtlpHttp | WebPage] = []
    if settings.web_port is not None:
        found.append(WebPage(settings, settings.web_port, now_micros))
    if settings.health_port is not None:
        application = health_application(pipeline.stages)
        found.append(Port(application, settings.health_host, settings.health_port, "AFTERMATH_HEALTH_PORT"))
    if settings.otlp_port is not None:
        found.append(OtlpHttp(settings, settings.otlp_port))  # last: what it takes is then to be seen
    return found


def _publish_limits(settings: Settings) -> None:
    """Live, what the limits file has new is published; where it comes too late those that are published hold."""
    if settings.recorded or settings.limits_file is None:
        return
    limits = load_limits(settings.limits_file)
    check_topics(settings)
    try:
        for record in publish_limits(settings, limits, now=now_micros(), author="aftermath run"):
            log.info("limits: version %s is published", record.version)
    except UsageError as error:
        log.error("%s The limits in force are those published before: `aftermath limits show`.", error)


def _exit(code: int, error: StageError) -> None:
    """At once, from inside the failing stage: nothing may run that would acknowledge what failed."""
    log.critical("exit %s: %s", code, error)
    logging.shutdown()
    os._exit(code)
