"""Limits: what an agent may do. Declared in `limits.yml`, asked by detectors; needs no file (then nothing is limited).

    version: 3
    limits:
      - match: {agent_id: seo-agent}        # tenant, agent_id, tool_name, target; `*` and `?` match, absent matches all
        tokens_per_session: 2000000
      - match: {tool_name: kubernetes.*, target: prod-*}
        needs_approval: true

Of several entries that match, the last one that states a limit wins: write the general first.
"""

from fnmatch import fnmatchcase
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PositiveInt


class Match(BaseModel):
    """Which calls an entry is about; shell patterns."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    tenant: str = "*"
    agent_id: str = "*"
    tool_name: str = "*"
    target: str = "*"

    def covers(self, tenant: str, agent_id: str, tool_name: str | None = None, target: str | None = None) -> bool:
        """An entry that names a tool or a target says nothing of calls without one."""
        pairs = (
            (tenant, self.tenant),
            (agent_id, self.agent_id),
            (tool_name, self.tool_name),
            (target, self.target),
        )
        return all(pattern == "*" or (value is not None and fnmatchcase(value, pattern)) for value, pattern in pairs)


class Limit(BaseModel):
    """One entry: a match and what it limits. Tokens are input without cache reads, plus output."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    match: Match = Match()
    tokens_per_session: PositiveInt | None = None
    calls_per_session: PositiveInt | None = None
    max_steps: PositiveInt | None = None
    needs_approval: bool | None = None
    may_poll: bool | None = None  # asking this tool again and again, with the same answer, is no loop
    volatile_arguments: tuple[str, ...] | None = None  # names of arguments that do not make a call another one


class Limits(BaseModel):
    """All limits in force, and their version, which every signal names."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    version: int = Field(default=0, ge=0)
    limits: tuple[Limit, ...] = ()

    def value(
        self, name: str, tenant: str, agent_id: str, tool_name: str | None = None, target: str | None = None
    ) -> Any:
        """The limit called `name` for this agent and call, None where there is none."""
        found = None
        for entry in self.limits:
            stated = getattr(entry, name)
            if stated is not None and entry.match.covers(tenant, agent_id, tool_name, target):
                found = stated
        return found

    @property
    def rule_version(self) -> str:
        """Version of the detectors and of the limits, as it stands in signals and incidents."""
        return f"1+limits.{self.version}" if self.version else "1"
