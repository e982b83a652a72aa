"""ClickHouse: answers, is new enough, has every migration, and the same time."""

import re
from collections.abc import Iterator

from pipeline.checks.finding import Finding, clock
from pipeline.clock import now_micros
from pipeline.settings import Settings
from schemas.errors import AftermathError
from schemas.times import MICROS
from sinks.clickhouse import migrations
from sinks.clickhouse.client import connect_as_set

OLDEST = (25, 8)  # what the client library is made for
NOW = "SELECT version() AS version, toUnixTimestamp64Micro(now64(6)) AS now"


def clickhouse(settings: Settings) -> Iterator[Finding]:
    """Asks, and changes nothing."""
    client = connect_as_set(settings)
    try:
        before = now_micros()
        (row,) = client.query(NOW)
        middle = (before + now_micros()) / 2
        missing = migrations.check(client)
    finally:
        client.close()
    version = str(row["version"])
    yield Finding("ClickHouse", "ok", f"{settings.clickhouse_url} answers, version {version}")
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        yield Finding("version", "todo", f"ClickHouse {version} is older than {oldest}: upgrade it.")
    yield clock("clock", "ClickHouse's", (int(row["now"]) - middle) / MICROS)
    if missing:
        raise AftermathError(
            f"{len(missing)} migrations or tables are missing, the first: {missing[0]}; run `aftermath setup`."
        )
    known = migrations.load()
    yield Finding("migrations", "ok", f"all {len(known)} applied to {settings.clickhouse_database}")
