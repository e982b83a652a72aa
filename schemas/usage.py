"""The table inside a Usage message: sums of one tenant, pane and source, one row a combination of what was called.

One message a tenant and pane instead of one a row: it is written and read as columns.
"""

import io
from collections.abc import Iterable
from typing import Any

import polars as pl

from schemas.signals import Usage

KEY = ("agent_id", "agent_version", "task_type", "operation", "model", "tool_name", "target")
SUMS = (
    "calls", "errors", "refused", "input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens",
    "duration_ms",
)  # fmt: skip
KEPT = tuple(name for name in (*KEY, *SUMS) if name != "refused")  # in ClickHouse; the rest is for detection only
COUNTED_CALLS = ("chat", "execute_tool", "retrieval", "handoff")  # an `invoke_agent` span sums its children
COLUMNS: dict[str, Any] = {**dict.fromkeys(KEY, pl.String), **dict.fromkeys(SUMS, pl.Int64)}
PLACED: dict[str, Any] = {"tenant": pl.String, "pane": pl.Int64, "source": pl.String, **COLUMNS}


def usage_of(tenant: str, pane: int, source: str, sums: pl.DataFrame) -> Usage:
    """A message of these sums; its columns are COLUMNS, in that order."""
    body = io.BytesIO()
    sums.write_ipc_stream(body, compression="lz4", compat_level=pl.CompatLevel.oldest())
    return Usage(tenant=tenant, pane=pane, source=source, rows=sums.height, table=body.getvalue())


def tables_of(usage: Iterable[Usage]) -> pl.DataFrame:
    """The sums of several messages below each other."""
    tables = [table_of(message) for message in usage]
    return pl.concat(tables) if tables else pl.DataFrame(schema=PLACED)


def table_of(usage: Usage) -> pl.DataFrame:
    """The sums of a message, with the columns `tenant`, `pane` and `source` in front."""
    sums = pl.read_ipc_stream(io.BytesIO(usage.table))
    return sums.select(
        pl.lit(usage.tenant).alias("tenant"),
        pl.lit(usage.pane, dtype=pl.Int64).alias("pane"),
        pl.lit(usage.source).alias("source"),
        *COLUMNS,
    )
