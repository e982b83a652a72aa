"""A worker in a process of its own, which can be killed, stopped, frozen, and told where to end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipeline.fail_at import FAIL_AT, KILLED
from pipeline.settings import Settings

ROOT = Path(__file__).parents[2]
# A shorter session than a setting allows: the mock cluster waits so long after a member was killed.
RUN = """
import logging, sys
from pipeline.app import run_worker
from pipeline.settings import load_settings
logging.basicConfig(level=logging.INFO, stream=sys.stderr)
settings = load_settings().model_copy(update={"session_timeout_seconds": int(sys.argv[1])})
sys.exit(run_worker(settings, sys.argv[2:]))
"""
DEADLINE_SECONDS = 60.0
LOG_TAIL = 3_000  # characters that a failure shows


class Worker:
    """Some stages; what they log goes to a file, which a failed wait shows."""

    def __init__(
        self,
        settings: Settings,
        stages: Sequence[str],
        log: Path,
        *,
        fail_at: str = "",
        extra: Mapping[str, str] | None = None,
    ) -> None:
        self.log = log
        environment = {
            **os.environ,
            "AFTERMATH_KAFKA": settings.kafka,
            "AFTERMATH_GROUP_PREFIX": settings.group_prefix,
            "AFTERMATH_INSTANCE": settings.instance,
            "AFTERMATH_RECORDED": str(settings.recorded).lower(),
            "AFTERMATH_COMMIT_INTERVAL_SECONDS": str(settings.commit_interval_seconds),
            "AFTERMATH_SNAPSHOT_SECONDS": str(settings.snapshot_seconds),
            "AFTERMATH_STOP_SECONDS": str(settings.stop_seconds),
            "AFTERMATH_CLICKHOUSE_URL": settings.clickhouse_url,
            "AFTERMATH_CLICKHOUSE_USER": settings.clickhouse_user,
            "AFTERMATH_CLICKHOUSE_PASSWORD": settings.clickhouse_password.get_secret_value(),
            "AFTERMATH_CLICKHOUSE_DATABASE": settings.clickhouse_database,
            FAIL_AT: fail_at,
            **(extra or {}),
        }
        if settings.limits_file is not None:
            environment["AFTERMATH_LIMITS_FILE"] = str(settings.limits_file)
        command = [sys.executable, "-c", RUN, str(settings.session_timeout_seconds), *stages]
        with log.open("w") as out:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Poll; a worker that ends, or time that runs out, is a failure that shows the log."""
        end = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.tail()}"
            assert time.monotonic() < end, f"not so in time: {condition}\n{self.tail()}"
            time.sleep(0.02)

    def wait_until_it_fails(self) -> None:
        """It was told where to end, and does."""
        assert self.exit_code() == KILLED, self.tail()

    def exit_code(self, seconds: float = DEADLINE_SECONDS) -> int:
        """How it ended. It is killed, and the test fails, where it does not."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it runs on after {seconds} s:\n{self.tail()}") from None
        finally:
            self.kill()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        self.process.kill()
        self.process.wait()

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text()[-LOG_TAIL:]
