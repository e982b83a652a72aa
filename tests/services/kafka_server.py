"""A real Kafka for tests and benchmarks, from whatever this machine has; and faults for it.

`real_kafka()` takes the first that works: an address in AFTERMATH_TEST_KAFKA, Docker, Apache Kafka from its jars
(kafka_jars.py). Where none does it raises `NoKafkaError`, which says what each of them lacks.

One broker serves a whole session: a new one costs 3 s (6 s of CPU), new topics 0.3 s. So a test module gets topics that
were deleted and made anew (`fresh_topics`), and a prefix of its own for consumer groups.
"""

import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from pipeline.settings import Settings
from pipeline.topic_setup import check_topics, setup_topics
from schemas.errors import ConfigurationError
from schemas.topics import ALL
from tests.services.containers import Container, NoContainerError, engine_lacks

READY_SECONDS = 90.0  # a start takes 2 s, after a SIGKILL 4 s, on a busy machine several times that
STOP_SECONDS = 30.0
ANSWER_SECONDS = 1.0
IMAGE = "apache/kafka:4.1.0"  # the version of kafka/pom.xml; a test holds them equal
VARIABLE = "AFTERMATH_TEST_KAFKA"


class NoKafkaError(Exception):
    """No way to a real Kafka on this machine; the text says what each way lacks."""


class RealKafka(ABC):
    """One broker. `says`: what it is, for the summary of a test run."""

    says: str
    bootstrap: str
    has_faults = True  # whether it may be stopped, killed and paused

    @abstractmethod
    def start(self) -> None:
        """Start, or start again with the data it had; returns when it answers. Raises NoKafkaError if it does not."""

    @abstractmethod
    def stop(self) -> None:
        """End in order."""

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL: nothing is flushed, no group is left."""

    @abstractmethod
    def pause(self) -> None:
        """SIGSTOP: connections stay open and nobody answers."""

    @abstractmethod
    def resume(self) -> None:
        """SIGCONT."""

    def remove(self) -> None:
        """It is not needed any more: end it and give everything back."""
        self.stop()

    def trouble(self) -> str | None:
        """Why it will never answer, as far as one can see from outside."""
        return None

    def wait_until_it_answers(self) -> None:
        """Raises NoKafkaError after READY_SECONDS, or as soon as it is known that it never will."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        end = time.monotonic() + READY_SECONDS
        while True:
            try:
                if admin.list_topics(timeout=ANSWER_SECONDS).brokers:
                    return
            except KafkaException as error:
                if time.monotonic() > end:
                    raise NoKafkaError(
                        f"{self.says} does not answer at {self.bootstrap} after {READY_SECONDS:.0f} s: {error}"
                    ) from None
            if (trouble := self.trouble()) is not None:
                raise NoKafkaError(f"{self.says} ended before it answered: {trouble}")


class GivenKafka(RealKafka):
    """A broker that somebody else runs: it can be used, not broken. Its Aftermath topics are deleted and made anew."""

    has_faults = False

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.says = f"Kafka at {bootstrap} ({VARIABLE})"

    def start(self) -> None:
        self.wait_until_it_answers()

    def stop(self) -> None:
        """It is not ours."""

    def kill(self) -> None:
        raise NoKafkaError(f"{self.says} is not ours to kill; unset {VARIABLE} for tests that need faults")

    pause = resume = kill


class DockerKafka(RealKafka):
    """One container of apache/kafka; removed at the end."""

    lacks = staticmethod(engine_lacks)

    def __init__(self) -> None:
        (port,) = free_ports(1)
        self.bootstrap = f"127.0.0.1:{port}"
        self.says = f"{IMAGE} in Docker"
        # The whole environment: with one KAFKA_ variable set, the image drops all of its own defaults
        settings = broker_settings(
            "PLAINTEXT://:9092", "CONTROLLER://:9093", f"PLAINTEXT://{self.bootstrap}", "1@localhost:9093"
        )
        environment = {"KAFKA_" + name.upper().replace(".", "_"): value for name, value in settings.items()}
        self.container = Container(IMAGE, environment=environment, ports={9092: port})
        self._was_started = False

    def start(self) -> None:
        if self._was_started:
            self._tell("start")
        else:
            self._was_started = True
            try:
                self.container.start()
            except NoContainerError as error:
                raise NoKafkaError(str(error)) from None
        self.wait_until_it_answers()

    def stop(self) -> None:
        self._tell("stop")

    def kill(self) -> None:
        self._tell("kill")

    def pause(self) -> None:
        self._tell("pause")

    def resume(self) -> None:
        self._tell("unpause")

    def remove(self) -> None:
        try:
            self.container.remove()
        except NoContainerError as error:
            raise NoKafkaError(str(error)) from None

    def trouble(self) -> str | None:
        try:
            state = self.container.status()
        except NoContainerError as error:
            return str(error)
        return None if state in ("running", "created", "restarting") else f"its container is {state}"

    def _tell(self, verb: str) -> None:
        try:
            self.container.tell(verb)
        except NoContainerError as error:
            raise NoKafkaError(str(error)) from None


def broker_settings(listener: str, controller: str, advertised: str, voters: str) -> dict[str, str]:
    """server.properties of a broker that is its own controller, for tests: one of everything, groups form at once."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": voters,
        "controller.listener.names": "CONTROLLER",
        "listeners": f"{listener},{controller}",
        "advertised.listeners": advertised,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        # after a SIGKILL the controller waits so long for the broker that is gone: 12 s to the first answer with 9 s
        "broker.session.timeout.ms": "2000",
        "broker.heartbeat.interval.ms": "500",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "offsets.topic.num.partitions": "1",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "auto.create.topics.enable": "false",
        "file.delete.delay.ms": "1000",
    }


@contextmanager
def real_kafka() -> Iterator[RealKafka]:
    """A broker that answers, and is gone afterwards. Raises NoKafkaError."""
    kafka = _first_that_works()
    try:
        yield kafka
    finally:
        kafka.remove()


def _first_that_works() -> RealKafka:
    from tests.services.kafka_jars import JarKafka

    if address := os.environ.get(VARIABLE):
        given = GivenKafka(address)
        given.start()  # what was asked for by name is not replaced by something else
        return given
    lacking = []
    ways: tuple[type[DockerKafka] | type[JarKafka], ...] = (DockerKafka, JarKafka)
    for way in ways:
        if (lacks := way.lacks()) is not None:
            lacking.append(lacks)
            continue
        kafka = way()
        try:
            kafka.start()
        except NoKafkaError as error:
            kafka.remove()
            lacking.append(str(error))
        except BaseException:
            kafka.remove()
            raise
        else:
            return kafka
    raise NoKafkaError(f"no real Kafka: {VARIABLE} is not set; {'; '.join(lacking)}")


def fresh_topics(settings: Settings) -> None:
    """All of Aftermath's topics, empty, for recorded or live data as the settings say."""
    admin = AdminClient({"bootstrap.servers": settings.kafka, "log_level": 0})
    names = {topic.name for topic in ALL}
    end = time.monotonic() + READY_SECONDS
    while there := names & admin.list_topics(timeout=10).topics.keys():
        for future in admin.delete_topics(sorted(there), operation_timeout=10).values():
            try:
                future.result()
            except KafkaException as error:
                if time.monotonic() > end:
                    raise NoKafkaError(f"the topics of the test before cannot be deleted: {error}") from None
    try:
        setup_topics(settings)
    except ConfigurationError:  # made, and the broker's metadata does not say so yet
        while True:
            try:
                check_topics(settings)
                return
            except ConfigurationError:
                if time.monotonic() > end:
                    raise


def free_ports(number: int) -> list[int]:
    """Ports on 127.0.0.1 that nobody listens on now."""
    held = [socket.socket() for _ in range(number)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def cache_folder() -> Path:
    """Where what was downloaded for tests stays."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aftermath-tests"
