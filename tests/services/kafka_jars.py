"""Apache Kafka from the jars of Maven Central: one process, one node, its own controller (KRaft).

The jars are fetched once, into a cache folder that is named by the version and by what kafka/pom.xml says; they appear
there whole or not at all. A broker lives in a temporary folder. Needs Java 17 and, until the jars are there, Maven.
"""

import hashlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from tests.services.kafka_server import (
    STOP_SECONDS,
    NoKafkaError,
    RealKafka,
    broker_settings,
    cache_folder,
    free_ports,
)
from tests.services.processes import stop

POM = Path(__file__).parent / "kafka" / "pom.xml"
JAVA_AT_LEAST = 17
FETCH_SECONDS = 540
HEAP = "384m"
LOG_TAIL = 1_500  # characters of the broker's log that an error shows
LOGGING = """
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %c %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
"""


def kafka_version() -> str:
    """As the pom has it."""
    found = re.search(r"<kafka\.version>([^<]+)</kafka\.version>", POM.read_text())
    if found is None:
        raise NoKafkaError(f"{POM} names no kafka.version")
    return found[1]


def jars_folder() -> Path:
    """Where the jars are, or will be."""
    content = hashlib.sha256(POM.read_bytes()).hexdigest()[:8]
    return cache_folder() / f"kafka-{kafka_version()}-{content}"


def fetch_jars() -> Path:
    """The folder with the jars; Maven fills it if it is not there. Raises NoKafkaError."""
    folder = jars_folder()
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="fetching-", dir=folder.parent))
    command = ["mvn", "--quiet", "--batch-mode", "--file", str(POM), "dependency:copy-dependencies"]
    command += [f"-DoutputDirectory={scratch / 'lib'}", "-DincludeScope=runtime"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
        if done.returncode:
            raise NoKafkaError(f"Maven cannot fetch Kafka: {(done.stdout + done.stderr).strip()[-LOG_TAIL:]}")
        try:
            (scratch / "lib").rename(folder)
        except OSError:
            if not folder.is_dir():  # else somebody else was faster, and theirs is as good
                raise
    except subprocess.TimeoutExpired:
        raise NoKafkaError(f"Maven has not fetched Kafka in {FETCH_SECONDS} s; is Maven Central reachable?") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def java_version() -> int | None:
    """17 for Java 17; None where there is no Java."""
    try:
        asked = subprocess.run(["java", "-version"], capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        return None
    found = re.search(r'version "(\d+)', asked.stderr)
    return int(found[1]) if found else None


class JarKafka(RealKafka):
    """One broker process. Keeps its ports and data over `stop`, `kill` and `start`."""

    def __init__(self, processors: set[int] | None = None, *, compiles_twice: bool = False) -> None:
        """processors: the only ones it may use; benchmarks keep it away from what they measure. compiles_twice: for
        long runs at full speed; in the first minutes the second compiler takes as much as the broker itself."""
        self.says = f"Apache Kafka {kafka_version()} from jars"
        self._jars = fetch_jars()
        self._folder = Path(tempfile.mkdtemp(prefix="aftermath-kafka-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._processors = processors
        self._compiles_twice = compiles_twice
        self._log = self._folder / "broker.log"
        port, controller = free_ports(2)
        self.bootstrap = f"127.0.0.1:{port}"
        self._format(self.broker_settings(port, controller))

    @staticmethod
    def lacks() -> str | None:
        """Why this way is closed; None where it is open."""
        java = java_version()
        if java is None or java < JAVA_AT_LEAST:
            return f"Java {JAVA_AT_LEAST} is not installed" + (f" (there is {java})" if java else "")
        if not jars_folder().is_dir() and shutil.which("mvn") is None:
            return "Maven is not installed and the jars are not in the cache"
        return None

    @property
    def pid(self) -> int:
        """Of the process that runs. Raises NoKafkaError where none does."""
        if self._process is None:
            raise NoKafkaError("the broker is not running: start it first")
        return self._process.pid

    def start(self) -> None:
        if self._process is not None:
            raise NoKafkaError("the broker is running already")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", str(self._folder / "server.properties")),
                stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C ends the tests, and they end the broker
            )  # fmt: skip
        if self._processors is not None:
            os.sched_setaffinity(self._process.pid, self._processors)  # before it has any other thread
        self.wait_until_it_answers()

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        stop(self._process, STOP_SECONDS)
        self._process = None

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        self._process = None

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def remove(self) -> None:
        if self._process is not None:
            self.kill()  # its data is deleted with it
        shutil.rmtree(self._folder, ignore_errors=True)

    def trouble(self) -> str | None:
        if self._process is None or self._process.poll() is None:
            return None
        code, self._process = self._process.returncode, None
        return f"exit code {code}; its log ends with: {self._log.read_text(errors='replace')[-LOG_TAIL:].strip()}"

    def broker_settings(self, port: int, controller: int) -> dict[str, str]:
        """What server.properties says, but for where its data is."""
        return broker_settings(
            f"PLAINTEXT://127.0.0.1:{port}", f"CONTROLLER://127.0.0.1:{controller}",
            f"PLAINTEXT://{self.bootstrap}", f"1@127.0.0.1:{controller}",
        )  # fmt: skip

    def format_options(self) -> list[str]:
        """What its storage is formatted with, besides the name of the cluster."""
        return []

    def _format(self, settings: dict[str, str]) -> None:
        (self._folder / "log4j2.properties").write_text(LOGGING)
        settings = settings | {"log.dirs": str(self._folder / "data")}
        file = self._folder / "server.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        cluster = secrets.token_urlsafe(16).replace("-", "A")  # 22 characters; its tool takes a leading - for an option
        done = subprocess.run(
            self._java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(file), *self.format_options()),
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        if done.returncode:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise NoKafkaError(f"Kafka's data folder cannot be formatted: {(done.stdout + done.stderr)[-LOG_TAIL:]}")

    def _java(self, main: str, *arguments: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self._folder / 'log4j2.properties'}"
        quick = ("-XX:+UseParallelGC",) if self._compiles_twice else ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        return ["java", f"-Xmx{HEAP}", *quick, logging, "-cp", f"{self._jars}/*", main, *arguments]
