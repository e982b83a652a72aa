"""A control: an agent, or some of its calls, paused, halted or resumed. What stands on `agent.controls.v1`.

A control names its tenant and its agent exactly, and never all of them: nobody touches another tenant's agents.
Version, tool and target are exact or `*`. The newest of a key counts; a pause ends by itself at `until`. With `probes`
it is half open for as long again: one session may try (client/aftermath_client/probes.py), and a new pause closes it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args
from urllib.parse import quote

from schemas.errors import AftermathError
from schemas.signals import stable_hash

Action = Literal["pause", "halt", "resume"]
Mode = Literal["enforce", "shadow"]
ALL = "*"
LONGEST_REASON = 500


class ControlError(AftermathError):
    """A record of `agent.controls.v1` that is no control of its key's agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """The fields of `schemas/avro/control.v1.avsc`; times are microseconds UTC."""

    tenant: str
    agent_id: str
    action: Action
    author: str
    reason: str
    at: int
    agent_version: str = ALL
    tool_name: str = ALL
    target: str = ALL
    mode: Mode = "enforce"
    until: int | None = None
    probes: bool = False
    incident_id: str | None = None
    control_id: str = ""

    @property
    def key(self) -> str:
        """tenant/agent/version/tool/target: what it is about. Only the target may hold a slash as it is."""
        names = (self.tenant, self.agent_id, self.agent_version, self.tool_name)
        return "/".join((*(quote(name, safe="*") for name in names), self.target))

    @property
    def about(self) -> str:
        """The same for a person: the agent, and what it is narrowed to."""
        parts = ((" version ", self.agent_version), (" tool ", self.tool_name), (" on ", self.target))
        return self.agent_id + "".join(word + name for word, name in parts if name != ALL)

    def holds(self, now: int) -> bool:
        """Whether it stops anybody now; a shadow stops nobody."""
        return self.mode == "enforce" and self.is_in_force(now)

    def is_in_force(self, now: int) -> bool:
        """Whether it is a pause or a halt that has not ended, half open or not."""
        return self.action != "resume" and (self.until is None or now < self.ends_at)

    @property
    def ends_at(self) -> int:
        """When nothing is left of it. Raises ValueError for one without an end."""
        if self.until is None:
            raise ValueError(f"{self.about} is held until it is resumed")
        return self.until + (self.until - self.at if self.probes else 0)

    def as_record(self) -> dict[str, Any]:
        """The record as it is written."""
        return asdict(self)


def with_id(control: Control) -> Control:
    """The same control with its id, which depends on what it says alone: given twice it is one."""
    said = asdict(replace(control, control_id=""))
    return replace(control, control_id=stable_hash("control", said))


def ended(control: Control, *, author: str, reason: str, at: int) -> Control:
    """The control that ends this one: its agent goes on."""
    return with_id(replace(control, action="resume", author=author, reason=reason, at=at, until=None, probes=False))


def control_of(record: Mapping[str, Any], key: str) -> Control:
    """The control of a decoded record. Raises ControlError where it is none, or is not the one its key says."""
    control = Control(**{item.name: record[item.name] for item in fields(Control)})
    if control.action not in get_args(Action) or control.mode not in get_args(Mode):
        raise ControlError(f"agent.controls.v1 has a record with action {control.action[:20]!r}; is it ours?")
    if control.key != key or ALL in (control.tenant, control.agent_id):
        raise ControlError(f"agent.controls.v1 has under {key[:100]!r} a control of {control.key[:100]!r}; not used")
    return control
