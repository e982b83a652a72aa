"""An Alertmanager for tests, with the configuration of docker-compose.yml: Debian's, else one in Docker.

It groups by that configuration and tells nobody: tests ask its API what it holds.
"""

import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.services.containers import Container, NoContainerError, engine_lacks
from tests.services.kafka_server import free_ports
from tests.services.processes import stop

CONFIG = Path(__file__).parents[2] / "deploy" / "alertmanager.yml"
IMAGE = "prom/alertmanager:v0.34.1"  # the one of docker-compose.yml; a test holds them equal
NAMES = ("prometheus-alertmanager", "alertmanager")  # Debian's name, and its own
READY_SECONDS = 30.0
STOP_SECONDS = 10.0


class NoAlertmanagerError(Exception):
    """No way to an Alertmanager on this machine; the text says what each way lacks."""


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """One that answers. `says`: what it is, for the summary of a test run."""

    says: str
    url: str

    def is_ready(self) -> bool:
        """Whether it takes alerts now."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def post(self, alerts: list[dict[str, Any]]) -> int:
        """Alerts by API v2; the status of the answer."""
        request = urllib.request.Request(
            f"{self.url}/api/v2/alerts", json.dumps(alerts).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def alerts(self) -> list[dict[str, Any]]:
        """What it holds now."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)
            return found


@contextmanager
def alertmanager(config: Path = CONFIG) -> Iterator[Alertmanager]:
    """One that is ready, and is gone afterwards. Raises NoAlertmanagerError."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is not None:
        with _as_process(program, config) as running:
            yield running
        return
    if (lacks := engine_lacks()) is not None:
        raise NoAlertmanagerError(f"no Alertmanager: {NAMES[0]} is not installed; {lacks}")
    with _in_docker(config) as running:
        yield running


@contextmanager
def _as_process(program: str, config: Path) -> Iterator[Alertmanager]:
    (port,) = free_ports(1)
    found = Alertmanager(f"{Path(program).name} of this machine", f"http://127.0.0.1:{port}")
    with tempfile.TemporaryDirectory(prefix="aftermath-alertmanager-") as folder:
        log = Path(folder, "log")
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [
                    program,
                    f"--config.file={config}",
                    f"--storage.path={folder}/data",
                    f"--web.listen-address=127.0.0.1:{port}",
                    "--cluster.listen-address=",
                ],
                stdout=stream,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            _wait(found, lambda: process.poll() is not None, log)
            yield found
        finally:
            stop(process, STOP_SECONDS)


@contextmanager
def _in_docker(config: Path) -> Iterator[Alertmanager]:
    (port,) = free_ports(1)
    mounted = {config: "/etc/alertmanager/alertmanager.yml"}
    container = Container(IMAGE, environment={}, ports={9093: port}, files=mounted)
    try:
        container.start()
        found = Alertmanager(f"{IMAGE} in Docker", f"http://127.0.0.1:{port}")
        _wait(found, lambda: False, None)
        yield found
    except NoContainerError as error:
        raise NoAlertmanagerError(str(error)) from None
    finally:
        container.remove()


def _wait(found: Alertmanager, has_ended: Callable[[], bool], log: Path | None) -> None:
    end = time.monotonic() + READY_SECONDS
    while not found.is_ready():
        if has_ended() or time.monotonic() > end:
            said = f": {log.read_text(errors='replace')[-500:].strip()}" if log else ""
            raise NoAlertmanagerError(f"{found.says} is not ready at {found.url}{said}")
        time.sleep(0.05)
