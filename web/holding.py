"""An agent held, or let go, by hand on the page: what was asked as controls. Pure; who calls it writes them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from schemas.controls import ALL, LONGEST_REASON, Control, ended, with_id
from schemas.errors import UsageError
from schemas.times import MINUTE

LONGEST_MINUTES: Final = 7 * 24 * 60
LONGEST_NAME: Final = 100


def asked(body: Any, known: Sequence[Control], now: int) -> list[Control]:
    """The controls to give for {action, tenant, agent_id, author, reason, minutes, incident_id}. Raises UsageError."""
    if not isinstance(body, Mapping):
        raise UsageError("Send one JSON object.")
    agent, tenant = _text(body, "agent_id", 512), _text(body, "tenant", 512)
    if ALL in (agent, tenant):
        raise UsageError("Name one agent of one tenant.")
    author, reason = f"user:{_text(body, 'author', LONGEST_NAME)}", _text(body, "reason", LONGEST_REASON)
    match body.get("action"):
        case "pause":
            minutes = body.get("minutes")
            if not isinstance(minutes, int) or isinstance(minutes, bool) or not 1 <= minutes <= LONGEST_MINUTES:
                raise UsageError(f"Say for how many minutes: 1 to {LONGEST_MINUTES}.")
            incident = body.get("incident_id")
            control = Control(
                tenant=tenant, agent_id=agent, action="pause", author=author, reason=reason, at=now,
                until=now + minutes * MINUTE, incident_id=incident if isinstance(incident, str) else None,
            )  # fmt: skip
            return [with_id(control)]
        case "resume":
            held = [c for c in known if (c.tenant, c.agent_id) == (tenant, agent) and c.is_in_force(now)]
            if not held:
                raise UsageError(f"Nothing holds {agent[:100]} now.")
            return [ended(control, author=author, reason=reason, at=now) for control in held]
    raise UsageError("The action is pause or resume.")


def _text(body: Mapping[str, Any], name: str, longest: int) -> str:
    value = body.get(name)
    text = " ".join(value.split()) if isinstance(value, str) else ""
    if not 1 <= len(text) <= longest:
        raise UsageError(f"Fill in {name}: 1 to {longest} characters.")
    return text
