"""What the agents of a tenant used in one pane, summed once for all detectors that ask."""

from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

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


class Used:
    """table: the sums as they came, with the columns of schemas.usage; most detectors need only those by agent."""

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
    def by_agent(self) -> list[Spent]:
        """In the order of agent, version and type of task."""
        is_call, is_chat = pl.col("operation").is_in(COUNTED_CALLS), pl.col("operation") == "chat"
        tokens = pl.col("input_tokens") - pl.col("cached_input_tokens") + pl.col("output_tokens")
        sums = self.table.group_by("agent_id", "agent_version", "task_type").agg(
            pl.col("calls").filter(is_call).sum().alias("calls"),
            pl.col("errors").filter(is_call).sum().alias("errors"),
            pl.col("calls").filter(is_chat).sum().alias("chats"),
            pl.col("errors").filter(is_chat).sum().alias("failed_chats"),
            pl.col("refused").filter(is_chat).sum().alias("refused_chats"),
            pl.col("refused").filter(is_call & ~is_chat).sum().alias("refused_tools"),
            tokens.filter(is_chat).sum().alias("tokens"),
            pl.col("calls").filter(pl.col("operation") == "invoke_agent").sum().alias("runs"),
            pl.col("errors").filter(pl.col("operation") == "invoke_agent").sum().alias("failed_runs"),
        )
        found = [Spent(*row) for row in sums.iter_rows()]
        return sorted(found, key=lambda spent: tuple(part or "" for part in spent[:3]))

    @cached_property
    def calls(self) -> dict[str, int]:
        """Calls by agent, in their order; without agents that made none."""
        found: dict[str, int] = {}
        for spent in self.by_agent:
            if spent.calls:
                found[spent.agent_id] = found.get(spent.agent_id, 0) + spent.calls
        return found

    def callers(self, column: str) -> dict[str, dict[str, int]]:
        """Tool or target -> agent -> calls, in their order; without those that have no name here."""
        is_call = pl.col("operation").is_in(COUNTED_CALLS) & pl.col(column).is_not_null()
        sums = self.table.filter(is_call).group_by(column, "agent_id").agg(pl.col("calls").sum())
        found: dict[str, dict[str, int]] = {}
        for name, agent, calls in sums.sort(column, "agent_id").iter_rows():
            found.setdefault(name, {})[agent] = calls
        return found
