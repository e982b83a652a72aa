"""Limits: what an agent may do. Declared in `limits.yml`, asked by detectors; needs no file (then nothing is limited).

    version: 3
    effective_from: 2026-03-02T00:00:00Z    # event time; absent: always
    limits:
      - match: {agent_id: seo-agent}        # shell patterns; absent matches all
        tokens_per_session: 2000000
      - match: {tool_name: kubernetes.*, target: prod-*}
        needs_approval: true

    reads:                                # which facts a tool's reads show; without an entry its name decides
      - match: {tool_name: ops.checklist}
        sources: [change-calendar, flag-service]
      - match: {tool_name: bash}
        may_show_anything: true           # then what the session did not know cannot be told

Of several entries that match, the last one that states a limit wins: write the general first. Of `reads`, all that
match count. Every limit there is: pipeline/limits.md. A version replaces the one `before` it from `effective_from` on:
a pane goes by the version that was in force at its start, and signals and incidents name it.
"""

from datetime import datetime
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    PrivateAttr,
    StringConstraints,
    field_validator,
    model_validator,
)

from schemas.signals import stable_hash
from schemas.times import parse_time

MOST_ANSWERS = 50_000  # that are kept of one version, so that patterns are matched once a combination
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=512)]
BudgetOf = Literal["tenant", "agent", "model", "tool"]


class Match(BaseModel):
    """Which calls an entry is about; shell patterns."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    tenant: Pattern = "*"
    agent_id: Pattern = "*"
    agent_version: Pattern = "*"
    model: Pattern = "*"
    tool_name: Pattern = "*"
    target: Pattern = "*"
    _narrowing: tuple[tuple[str, str], ...] = PrivateAttr(())  # mostly one, and every call is asked of it

    def covers(self, **call: str | None) -> bool:
        """An entry that names a version, a model, a tool or a target says nothing of calls without one."""
        for name, pattern in self._narrowing:
            value = call.get(name)
            if value is None or not fnmatchcase(value, pattern):
                return False
        return True

    def model_post_init(self, _: Any, /) -> None:
        self._narrowing = tuple((name, pattern) for name, pattern in self if pattern != "*")


class Limit(BaseModel):
    """One entry: a match and what it limits. Tokens are input without cache reads, plus output."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    match: Match = Match()
    tokens_per_session: PositiveInt | None = None
    calls_per_session: PositiveInt | None = None
    tokens_per_day: PositiveInt | None = None
    calls_per_day: PositiveInt | None = None
    budget_of: BudgetOf = "agent"  # whose budget `..._per_day` is: each agent's, or that of all that the entry covers
    max_steps: PositiveInt | None = None
    max_repeats: PositiveInt | None = None  # of one call in a session: the client makes no more of them
    context_limit: PositiveInt | None = None
    allowed_tools: tuple[Pattern, ...] | None = None
    allowed_targets: tuple[Pattern, ...] | None = None
    needs_approval: bool | None = None
    may_poll: bool | None = None  # asking this tool again and again, with the same answer, is no loop
    volatile_arguments: tuple[str, ...] | None = None  # names of arguments that do not make a call another one
    needs_read_first: bool | None = None
    needs_summary: bool | None = None
    needs_canary: bool | None = None
    may_change_permissions: bool | None = None
    may_change_in_freeze: bool | None = None
    access: Literal["read", "write", "destructive", "provision"] | None = None  # where the spans do not say it

    @property
    def is_budget(self) -> bool:
        """Whether it states what may be used in a day."""
        return self.tokens_per_day is not None or self.calls_per_day is not None


class Budget(BaseModel):
    """What may be used in a day, and by whom: `budget_of` says what `subject` is. `key` tells budgets apart."""

    model_config = ConfigDict(frozen=True)
    budget_of: BudgetOf
    subject: str
    key: str
    tokens: int | None
    calls: int | None


class Read(BaseModel):
    """Which facts the reads of a tool show: those of these sources, on these resources (shell patterns)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    match: Match
    sources: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    may_show_anything: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> "Read":
        if not (self.sources or self.resources or self.may_show_anything):
            raise ValueError("says nothing; name `sources`, `resources`, or set `may_show_anything: true`")
        return self

    def shows(self, source: str | None, resource: str) -> bool:
        """Whether such a read shows a fact of this source on this resource."""
        if self.sources and (source is None or not any(fnmatchcase(source, pattern) for pattern in self.sources)):
            return False
        if self.resources and not any(fnmatchcase(resource, pattern) for pattern in self.resources):
            return False
        return bool(self.sources or self.resources)


class Limits(BaseModel):
    """All limits of one version, and the version before it. Signals name the version they went by."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    version: int = Field(default=0, ge=0)
    effective_from: int | None = None  # microseconds UTC
    limits: tuple[Limit, ...] = ()
    reads: tuple[Read, ...] = ()
    before: "Limits | None" = None

    @field_validator("effective_from", mode="before")
    @classmethod
    def _time(cls, value: Any) -> int | None:
        if value is not None and not isinstance(value, str | int | datetime):
            raise ValueError("write a moment with its zone, as in 2026-03-01T12:00:00Z")
        return None if value is None else parse_time(value)

    @model_validator(mode="after")
    def _in_order(self) -> "Limits":
        older = self.before
        if older is not None and self.version <= older.version:
            raise ValueError(f"version {self.version} replaces version {older.version}; number versions upwards")
        if older is not None and (self.effective_from is None or self.effective_from <= (older.effective_from or 0)):
            raise ValueError(
                f"version {self.version} needs an effective_from later than that of version {older.version}"
            )
        return self

    def in_force(self, moment: int) -> "Limits":
        """The version that holds at this moment of event time; none limits anything before the first."""
        if self.effective_from is None or self.effective_from <= moment:
            return self
        return self.before.in_force(moment) if self.before is not None else Limits()

    @cached_property
    def _answers(self) -> dict[tuple[str | None, ...], Any]:
        """What was asked before; a cached property, which is found in a tenth of the time of a private attribute."""
        return {}

    @property
    def changes(self) -> list[int]:
        """The moments at which another version comes into force, oldest first."""
        earlier = self.before.changes if self.before is not None else []
        return earlier if self.effective_from is None else [*earlier, self.effective_from]

    @property
    def earlier(self) -> list["Limits"]:
        """The versions before this one, newest first."""
        return [] if self.before is None else [self.before, *self.before.earlier]

    def states(self, *names: str) -> bool:
        """Whether any entry states one of these limits: if not, nothing needs to be asked."""
        key = ("states", *names)
        if key not in self._answers:
            self._answers[key] = any(getattr(entry, name) is not None for entry in self.limits for name in names)
        return bool(self._answers[key])

    def value(
        self,
        name: str,
        tenant: str,
        agent_id: str,
        tool_name: str | None = None,
        target: str | None = None,
        agent_version: str | None = None,
        model: str | None = None,
    ) -> Any:
        """The limit called `name` for this agent and call, None where there is none."""
        if not self.states(name):
            return None
        key = (name, tenant, agent_id, tool_name, target, agent_version, model)
        if key not in self._answers:
            self._make_room()
            call = {
                "tenant": tenant, "agent_id": agent_id, "agent_version": agent_version, "tool_name": tool_name,
                "target": target, "model": model,
            }  # fmt: skip
            found = None
            for entry in self.limits:
                stated = getattr(entry, name)
                if stated is not None and entry.match.covers(**call):
                    found = stated
            self._answers[key] = found
        return self._answers[key]

    def budgets(self, **call: str | None) -> tuple[Budget, ...]:
        """The daily budgets that this call counts to: of each kind (`budget_of`) the last entry that covers it.

        call: tenant, agent_id, agent_version, model, tool_name, target.
        """
        key = ("budgets", *call.values())
        if key not in self._answers:
            self._make_room()
            subjects: dict[BudgetOf, str | None] = {
                "tenant": call["tenant"],
                "agent": call["agent_id"],
                "model": call["model"],
                "tool": call["tool_name"],
            }
            found: dict[BudgetOf, Budget] = {}
            for entry in self.limits:
                subject = subjects[entry.budget_of]
                if entry.is_budget and subject is not None and entry.match.covers(**call):
                    name = stable_hash(entry.budget_of, subject, entry.match.model_dump())
                    found[entry.budget_of] = Budget(
                        budget_of=entry.budget_of,
                        subject=subject,
                        key=name,
                        tokens=entry.tokens_per_day,
                        calls=entry.calls_per_day,
                    )
            self._answers[key] = tuple(found.values())
        return self._answers[key]  # type: ignore[no-any-return]

    def _make_room(self) -> None:
        if len(self._answers) >= MOST_ANSWERS:
            self._answers.clear()

    @property
    def rule_version(self) -> str:
        """Version of the detectors and of the limits, as it stands in signals and incidents."""
        return f"1+limits.{self.version}" if self.version else "1"


def is_named(value: str, patterns: tuple[str, ...]) -> bool:
    """Whether one of these shell patterns matches."""
    return any(fnmatchcase(value, pattern) for pattern in patterns)
