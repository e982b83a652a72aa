"""What importing a worker's modules must not do."""

import subprocess
import sys

THREADS = """
import pathlib, pipeline.app, sinks.clickhouse.client
print(*(path.read_text().strip() for path in pathlib.Path("/proc/self/task").glob("*/comm")))
"""


def test_importing_starts_no_thread_of_polars_that_a_forked_process_would_wait_for() -> None:
    found = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, check=True).stdout.split()
    assert not [name for name in found if name.startswith("polars-") and name[7:].isdecimal()]
