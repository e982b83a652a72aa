"""The engine's disk is full, or the engine is killed: what it has said yes to is there."""

import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import polars as pl
import pytest

from sinks.clickhouse import migrations
from sinks.clickhouse.client import Client, connect
from sinks.clickhouse.errors import ClickHouseError, Verdict
from sinks.clickhouse.rows import raw_frame
from tests.builders import frame, span

pytestmark = pytest.mark.embedded
ROOT = Path(__file__).parents[2]
ENGINE = """
import sys, pathlib
from pipeline.embedded.database import embedded_database
with embedded_database(pathlib.Path(sys.argv[1])) as database:
    print(database.url, database.password, flush=True)
    sys.stdin.read()
"""
DISK_BYTES = 32 << 20


class Engine:
    """An embedded ClickHouse in a process of its own, with its files in a folder that outlives it."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", ENGINE, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        url, password = self.process.stdout.readline().decode().split()
        self.client: Client = connect(url, "default", password, "faults", timeout=20.0)

    def close(self) -> None:
        """Its input ends, and so does it."""
        self.client.close()
        self.process.communicate(timeout=30)


def batch(number: int, rows: int = 50) -> pl.DataFrame:
    """Rows that no other batch has."""
    spans = [span(n, span_id=f"{number}/{n}", trace_id=f"trace-{number}") for n in range(rows)]
    made = frame("agent_span", spans).with_columns(offset=pl.int_range(pl.len(), dtype=pl.Int64) + number * rows)
    return raw_frame("agent_span", made, False, "agent.traces.v1")


def batches(client: Client) -> dict[int, int]:
    """Number of each batch that is there -> its rows."""
    found = client.query("SELECT trace_id, count() AS n FROM agent_traces FINAL GROUP BY trace_id")
    return {int(row["trace_id"].removeprefix("trace-")): row["n"] for row in found}


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 32 MB; the test is left out where this user may not mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except FileNotFoundError:
        pytest.skip("a small disk needs `mount`")
    if done.returncode:
        pytest.skip(f"a small disk needs the right to mount one: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], timeout=20, check=True)


def fill(file: Path) -> None:
    """Leave no room at all."""
    with file.open("wb", buffering=0) as out:
        try:
            while True:
                out.write(b"x" * 4096)
        except OSError:
            return


@pytest.mark.fault("F24")
def test_on_a_full_disk_nothing_is_said_to_be_written_and_with_room_again_it_is(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        engine = Engine(disk / "engine")
        try:
            migrations.migrate(engine.client)
            engine.client.insert_frame("agent_traces", batch(0), "0")
            fill(disk / "filler")
            for number in (1, 2):
                with pytest.raises(ClickHouseError) as caught:
                    engine.client.insert_frame("agent_traces", batch(number), str(number))
                assert (caught.value.code, caught.value.verdict) == (243, Verdict.TRANSIENT)
            assert batches(engine.client) == {0: 50}
            os.remove(disk / "filler")
            for number in (1, 2):
                engine.client.insert_frame("agent_traces", batch(number), str(number))
            assert batches(engine.client) == {0: 50, 1: 50, 2: 50}
        finally:
            engine.close()


def insert_until_refused(client: Client) -> tuple[int, ClickHouseError]:
    """How many batches were accepted, one after the other."""
    for number in count():
        try:
            client.insert_frame("agent_traces", batch(number), str(number))
        except ClickHouseError as error:
            return number, error
    raise AssertionError("it counts for ever")


@pytest.mark.fault("F25")
def test_what_was_accepted_before_a_kill_is_there_after_it(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "engine")
    migrations.migrate(engine.client)
    killer = threading.Timer(1 + random.random(), engine.process.kill)  # any moment will do
    killer.start()
    accepted, error = insert_until_refused(engine.client)
    assert error.verdict is Verdict.TRANSIENT
    killer.join()
    engine.close()
    assert engine.process.returncode == -9
    again = Engine(tmp_path / "engine")
    try:
        found = batches(again.client)
        assert found == dict.fromkeys(range(len(found)), 50)
        assert accepted <= len(found) <= accepted + 1  # the one under way may be there, whole
        assert accepted > 3
    finally:
        again.close()
