"""The controls of one agent: which of them hold a call now."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

ALL = "*"


@dataclass(frozen=True, slots=True)
class Control:
    """A pause, a halt or a resume, as it stands on `agent.controls.v1`; times are microseconds UTC."""

    control_id: str
    tenant: str
    agent_id: str
    agent_version: str
    tool_name: str
    target: str
    action: str
    mode: str
    author: str
    reason: str
    at: int
    until: int | None
    probes: bool
    incident_id: str | None

    @property
    def key(self) -> str:
        """The key it must stand under."""
        names = (self.tenant, self.agent_id, self.agent_version, self.tool_name)
        return "/".join((*(quote(name, safe="*") for name in names), self.target))

    @property
    def ends_at(self) -> int | None:
        """When nothing is left of it, half open or not; None: when it is resumed."""
        if self.until is None:
            return None
        return self.until + (self.until - self.at if self.probes else 0)

    @property
    def may_hold(self) -> bool:
        """Whether it ever stops anybody."""
        return self.action in ("pause", "halt") and self.mode == "enforce"

    def is_over(self, now: int) -> bool:
        """Whether it has ended by itself."""
        ends_at = self.ends_at
        return ends_at is not None and now >= ends_at

    def is_half_open(self, now: int) -> bool:
        """Whether the pause has ended and one session of all processes may try."""
        return self.until is not None and now >= self.until and not self.is_over(now)

    def covers(self, version: str | None, tool: str | None, target: str | None) -> bool:
        """Whether a call is among those it is about."""
        is_tool = self.tool_name == ALL or self.tool_name == tool
        return is_tool and self.target in (ALL, target) and self.agent_version in (ALL, version)


def control_of(record: dict[str, Any], key: str) -> Control | None:
    """The control of a record; None where it is not one of its key's agent, which is then nobody's."""
    control = Control(**{name: record[name] for name in Control.__slots__})
    return control if control.key == key and ALL not in (control.tenant, control.agent_id) else None


def holding(
    controls: Iterable[Control], now: int, version: str | None, tool: str | None, target: str | None
) -> tuple[Control | None, list[Control]]:
    """The control that holds this call whatever happens, None where none does; and those that are half open for it."""
    half_open = []
    for control in controls:
        if control.covers(version, tool, target) and not control.is_over(now):
            if not control.is_half_open(now):
                return control, []
            half_open.append(control)
    return None, sorted(half_open, key=lambda control: control.control_id)  # in every process in the same order
