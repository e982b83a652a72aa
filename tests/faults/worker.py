"""A worker in a process of its own, which can be killed, stopped, frozen, and told where to end.

A process that has imported everything forks each of them: imports cost 2.5 s of processor time, a fork nothing. It
never runs anything itself, so no lock and no thread that a worker needs is held or missing after the fork.
"""

import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.fail_at import FAIL_AT, KILLED
from pipeline.settings import Settings

ROOT = Path(__file__).parents[2]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["pipeline.app", "sinks.clickhouse.client"])
DEADLINE_SECONDS = 60.0
LOG_TAIL = 3_000  # characters that a failure shows


def run(settings: Settings, stages: Sequence[str], log: Path, fail_at: str) -> None:
    """What the forked process does."""
    from pipeline.app import run_worker

    out = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.chdir(ROOT)
    os.environ[FAIL_AT] = fail_at
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    sys.exit(run_worker(settings, stages))


class Worker:
    """Some stages; what they log goes to a file, which a failed wait shows.

    The settings are taken as they are: a session may be shorter than a user's, because the mock cluster waits so long
    after a member was killed.
    """

    def __init__(self, settings: Settings, stages: Sequence[str], log: Path, *, fail_at: str = "") -> None:
        self.log = log
        log.touch()
        self._process = FORKS.Process(target=run, args=(settings, stages, log, fail_at), daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def ended(self) -> int | None:
        """Its exit code, minus the signal where one ended it; None while it runs."""
        return self._process.exitcode

    def wait_until(self, condition: Callable[[], object], seconds: float = DEADLINE_SECONDS) -> None:
        """Poll; a worker that ends, or time that runs out, is a failure that shows the log."""
        end = time.monotonic() + seconds
        while not condition():
            assert self.ended is None, f"ended with {self.ended}:\n{self.tail()}"
            assert time.monotonic() < end, f"not so in time: {condition}\n{self.tail()}"
            time.sleep(0.02)

    def wait_until_it_fails(self) -> None:
        """It was told where to end, and does."""
        assert self.exit_code() == KILLED, self.tail()

    def exit_code(self, seconds: float = DEADLINE_SECONDS) -> int:
        """How it ended. It is killed, and the test fails, where it does not."""
        self._process.join(seconds)
        code = self.ended
        self.kill()
        assert code is not None, f"it runs on after {seconds} s:\n{self.tail()}"
        return code

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        self._process.kill()
        self._process.join()

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text()[-LOG_TAIL:]
