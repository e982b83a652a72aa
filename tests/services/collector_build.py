"""A real OpenTelemetry Collector, built from collector/ by Go, and run on a configuration.

Only its parts that deploy/otel-collector.yaml names, and the receiver of files, are in it. The build takes minutes and half a
gigabyte of modules, so only `make collector` does it; the binary stays in the cache for as long as its sources are the same.
"""

import hashlib
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.services.kafka_server import cache_folder
from tests.services.processes import stop

SOURCES = Path(__file__).parent / "collector"
BUILD_SECONDS = 1500
READY_SECONDS = 60.0
STOP_SECONDS = 30.0


class NoCollectorError(Exception):
    """No Collector on this machine; the text says what is missing."""


def collector() -> Path:
    """The program. Raises NoCollectorError where it cannot be built."""
    digest = hashlib.sha256()
    for source in sorted(SOURCES.iterdir()):
        digest.update(source.read_bytes())
    program = cache_folder() / f"collector-{digest.hexdigest()[:16]}"
    if program.exists():
        return program
    go = shutil.which("go")
    if go is None:
        raise NoCollectorError("no Collector: `go` is not installed")
    program.parent.mkdir(parents=True, exist_ok=True)
    made = program.with_suffix(f".{os.getpid()}")
    environment = os.environ | {"GOFLAGS": "-p=1 -buildvcs=false -mod=readonly", "GOTOOLCHAIN": "local"}
    command = [go, "build", "-ldflags=-s -w", "-o", str(made), "."]
    built = subprocess.run(command, cwd=SOURCES, env=environment, capture_output=True, text=True, timeout=BUILD_SECONDS)
    if built.returncode != 0:
        raise NoCollectorError(f"no Collector: {' '.join(command)}: {built.stderr.strip()[-500:]}")
    made.rename(program)
    return program


@contextmanager
def running(program: Path, configurations: Sequence[str], port: int, log: Path) -> Iterator[None]:
    """The Collector on these configurations, merged in their order, until the end of the block; it flushes, then ends."""
    command = [str(program), *(word for one in configurations for word in ("--config", one))]
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            _wait(process, port, log)
            yield
        finally:
            ended = stop(process, STOP_SECONDS)
        assert ended, f"the Collector did not end in {STOP_SECONDS:.0f} s: {log}"


def _wait(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    end = time.monotonic() + READY_SECONDS
    while True:
        try:
            post(port, "traces", b"", "application/x-protobuf")
            return
        except urllib.error.URLError as error:
            if process.poll() is not None or time.monotonic() > end:
                said = log.read_text(errors="replace")[-2000:]
                raise AssertionError(f"the Collector does not take OTLP on port {port}: {error}\n{said}") from None
            time.sleep(0.05)


def post(port: int, signal: str, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
    """One export request over HTTP, as an SDK sends it. Raises URLError where it is not taken."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/{signal}", body, {"Content-Type": kind, **(headers or {})}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        answer.read()
