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
NOTHING = pl.DataFrame(schema=PLACED)  # to make one takes 0.5 ms, and of most panes only that is asked


def usage_of(tenant: str, pane: int, source: str, sums: pl.DataFrame) -> Usage:
    """A message of these sums; its columns are COLUMNS, in that order."""
    body = io.BytesIO()
    sums.write_ipc_stream(body, compression="lz4", compat_level=pl.CompatLevel.oldest())
    return Usage(tenant=tenant, pane=pane, source=source, rows=sums.height, table=body.getvalue())


def tables_of(usage: Iterable[Usage]) -> pl.DataFrame:
    """The sums of several messages below each other, with the columns `tenant`, `pane` and `source` in front.

    Without a query: correlate asks for a few rows at a time, thousands of times, and each query costs 0.2 ms.
    """
    messages = list(usage)
    tables = [pl.read_ipc_stream(io.BytesIO(message.table)) for message in messages]
    if not tables:
        return NOTHING.clone()
    tables = [table if table.columns == list(COLUMNS) else table.select(*COLUMNS) for table in tables]
    whole = pl.concat(tables)
    for place, name in enumerate(("tenant", "pane", "source")):
        values = [
            getattr(message, name) for message, sums in zip(messages, tables, strict=True) for _ in range(sums.height)
        ]
        whole.insert_column(place, pl.Series(name, values, dtype=PLACED[name]))
    return whole
