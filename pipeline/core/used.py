"""What the agents of a tenant used in one pane, summed once for all detectors that ask."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from operator import add
from typing import Literal, NamedTuple

import polars as pl

from schemas.signals import Usage
from schemas.usage import COUNTED_CALLS, tables_of


class Spent(NamedTuple):
    """Sums of one agent, version and type of task in one pane."""

    agent_id: str
    agent_version: str | None
    task_type: str | None
    calls: int  # model calls, tool calls, retrievals and hand-offs
    errors: int  # of those
    chats: int  # model calls
    failed_chats: int
    refused_chats: int  # for their rate or a quota
    refused_tools: int
    tokens: int  # of model calls, without cache reads
    runs: int  # that ended
    failed_runs: int  # of those, with an error


class Row(NamedTuple):
    """Sums of one combination of what was called, in one pane; the fields are columns of schemas.usage."""

    agent_id: str
    agent_version: str | None
    task_type: str | None
    operation: str
    tool_name: str | None
    target: str | None
    calls: int
    errors: int
    refused: int
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    duration_ms: int


SUMS_FROM = Row._fields.index("calls")
FEW = 64  # rows; to sum so many one by one takes a fifth of the time that a query of any size takes


class Used:
    """table: the sums as they came, with the columns of schemas.usage; most detectors need only those by agent.

    The sums that no detector tells apart are taken together first: by a query, or one by one where they are FEW, which
    most panes of most tenants are. What is left are some hundred rows at most, and to sum those one by one takes less
    than a query for each who asks.
    """

    def __init__(self, table: pl.DataFrame) -> None:
        self.table = table
        self.tenant: str = table["tenant"][0] if table.height else ""

    @classmethod
    def of(cls, usage: Iterable[Usage]) -> "Used":
        """Of the messages of one tenant and pane."""
        return cls(tables_of(usage))

    def __bool__(self) -> bool:
        return self.table.height > 0

    @cached_property
    def rows(self) -> list[Row]:
        """The table by what they say, summed over the rest (model, source), in no order."""
        if self.table.height <= FEW:
            return _summed(self.table)
        sums = self.table.group_by(Row._fields[:SUMS_FROM]).agg(pl.col(Row._fields[SUMS_FROM:]).sum())
        return [Row(*values) for values in sums.rows()]

    @cached_property
    def by_agent(self) -> list[Spent]:
        """In the order of agent, version and type of task."""
        sums: dict[tuple[str, str | None, str | None], list[int]] = {}
        for row in self.rows:
            total = sums.setdefault((row.agent_id, row.agent_version, row.task_type), [0] * SUMMED)
            for place, amount in _amounts(row):
                total[place] += amount
        found = [Spent(*who, *total) for who, total in sums.items()]
        return sorted(found, key=lambda spent: tuple(part or "" for part in spent[:3]))

    @cached_property
    def calls(self) -> dict[str, int]:
        """Calls by agent, in their order; without agents that made none."""
        found: dict[str, int] = {}
        for spent in self.by_agent:
            if spent.calls:
                found[spent.agent_id] = found.get(spent.agent_id, 0) + spent.calls
        return found

    def callers(self, what: Literal["tool_name", "target"]) -> dict[str, dict[str, int]]:
        """Tool or target -> agent -> calls, in their order; without those that have no name here."""
        sums: dict[tuple[str, str], int] = {}
        for row in self.rows:
            name = row.tool_name if what == "tool_name" else row.target
            if name is not None and row.operation in COUNTED_CALLS:
                sums[name, row.agent_id] = sums.get((name, row.agent_id), 0) + row.calls
        found: dict[str, dict[str, int]] = {}
        for name, agent in sorted(sums):
            found.setdefault(name, {})[agent] = sums[name, agent]
        return found


SUMMED = len(Spent._fields) - 3
CALLS, ERRORS, CHATS, FAILED_CHATS, REFUSED_CHATS, REFUSED_TOOLS, TOKENS, RUNS, FAILED_RUNS = range(SUMMED)


def _summed(table: pl.DataFrame) -> list[Row]:
    """What the query gives, without one."""
    sums: dict[tuple[str | None, ...], tuple[int, ...]] = {}
    for values in zip(*(table.get_column(name).to_list() for name in Row._fields), strict=True):
        key, amounts = values[:SUMS_FROM], values[SUMS_FROM:]
        known = sums.get(key)
        sums[key] = amounts if known is None else tuple(map(add, known, amounts))
    return [Row(*key, *amounts) for key, amounts in sums.items()]  # type: ignore[arg-type]


def _amounts(row: Row) -> Iterator[tuple[int, int]]:
    """What a row adds, and to which sum."""
    if row.operation == "invoke_agent":
        yield RUNS, row.calls
        yield FAILED_RUNS, row.errors
    elif row.operation in COUNTED_CALLS:
        yield CALLS, row.calls
        yield ERRORS, row.errors
        if row.operation == "chat":
            yield CHATS, row.calls
            yield FAILED_CHATS, row.errors
            yield REFUSED_CHATS, row.refused
            yield TOKENS, row.input_tokens - row.cached_input_tokens + row.output_tokens
        else:
            yield REFUSED_TOOLS, row.refused
