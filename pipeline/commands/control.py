"""`aftermath control`: the circuit breaker by hand. Pause, halt and resume an agent; list and inspect."""

import argparse
import getpass
import json
import re
from dataclasses import asdict, replace

from pipeline.clock import now_micros
from pipeline.commands.connection import kafka_to_use, reading_client
from pipeline.kafka_connection import KafkaConnection
from pipeline.settings import load_settings
from pipeline.stages.control_log import give, known_controls
from reports.inspection import inspection, state_of
from schemas.controls import ALL, LONGEST_REASON, Control, ended, with_id
from schemas.errors import UsageError
from schemas.times import MICROS, MINUTE, format_time
from sinks.clickhouse.agents import incidents_of, steps_of

SPAN = re.compile(r"(\d{1,6})(s|m|h|d)")
UNITS = {"s": MICROS, "m": MINUTE, "h": 60 * MINUTE, "d": 24 * 60 * MINUTE}
LAST_STEPS = 20


def run(args: argparse.Namespace) -> int:
    """One action. `resume` of an agent that nothing holds is a finding: 1."""
    kafka = kafka_to_use()
    tenant = args.tenant or load_settings().tenant
    now = now_micros()
    if args.action == "list":
        return _list(kafka, tenant, now, as_json=args.json)
    if args.action == "inspect":
        return _inspect(kafka, tenant, args.agent, now, as_json=args.json)
    author = f"user:{args.author or getpass.getuser()}"
    if args.action == "resume":
        return _resume(kafka, _asked(args, tenant), args.why, author, now)
    until = now + _span(args.span) if args.action == "pause" else None
    control = with_id(replace(_asked(args, tenant), reason=_why(args.why), author=author, at=now, until=until))
    give(kafka, [control])
    end = "until it is resumed" if until is None else f"until {format_time(until)}"
    print(f"{control.about} of {tenant} is {'paused' if until else 'halted'} {end}.")
    return 0


def _asked(args: argparse.Namespace, tenant: str) -> Control:
    """What the arguments are about; its reason and time come later."""
    if ALL in (args.agent, tenant):
        raise UsageError("Name one agent of one tenant; version, tool and target may be left out.")
    return Control(
        tenant=tenant, agent_id=args.agent, agent_version=args.version or ALL, tool_name=args.tool or ALL,
        target=args.target or ALL, action=args.action, author="", reason="", at=0, incident_id=args.incident,
    )  # fmt: skip


def _resume(kafka: KafkaConnection, asked: Control, why: str | None, author: str, now: int) -> int:
    """End every control of this agent that the arguments cover."""
    held = [control for control in known_controls(kafka) if _covers(asked, control) and control.is_in_force(now)]
    if not held:
        print(f"Nothing holds {asked.about} of {asked.tenant}: `aftermath control list` shows what there is.")
        return 1
    reason = _why(why) if why else "resumed"
    ends = [ended(control, author=author, reason=reason, at=now) for control in held]
    give(kafka, ends)
    for control in ends:
        print(f"{control.about} of {control.tenant} goes on.")
    return 0


def _covers(asked: Control, control: Control) -> bool:
    return (asked.tenant, asked.agent_id) == (control.tenant, control.agent_id) and all(
        wanted in (ALL, found)
        for wanted, found in (
            (asked.agent_version, control.agent_version),
            (asked.tool_name, control.tool_name),
            (asked.target, control.target),
        )
    )


def _list(kafka: KafkaConnection, tenant: str, now: int, *, as_json: bool) -> int:
    found = [c for c in known_controls(kafka) if c.tenant == tenant and c.is_in_force(now)]
    if as_json:
        print(json.dumps([asdict(control) for control in found], ensure_ascii=False))
    for control in found if not as_json else ():
        print(f"{control.about}: {state_of(control, now)}")
    if not found and not as_json:
        print(f"No agent of {tenant} is held.")
    return 0


def _inspect(kafka: KafkaConnection, tenant: str, agent: str, now: int, *, as_json: bool) -> int:
    controls = [c for c in known_controls(kafka) if (c.tenant, c.agent_id) == (tenant, agent)]
    with reading_client() as client:
        steps = steps_of(client, tenant, agent, LAST_STEPS)
        incidents = incidents_of(client, tenant, agent)
    if as_json:
        found = {
            "controls": [asdict(control) for control in controls],
            "steps": steps,
            "incidents": [incident.model_dump(mode="json") for incident in incidents],
        }
        print(json.dumps(found, ensure_ascii=False, default=str))
    else:
        print(inspection(agent, tenant, controls, steps, incidents, now))
    return 0


def _why(text: str) -> str:
    reason = " ".join(text.split())
    if not 3 <= len(reason) <= LONGEST_REASON:
        raise UsageError(f"--why says in 3 to {LONGEST_REASON} characters why: the service shows it, and the timeline.")
    return reason


def _span(text: str) -> int:
    found = SPAN.fullmatch(text)
    if found is None or not int(found[1]):
        raise UsageError(f"--for says how long: 30s, 10m, 2h or 1d, not {text[:20]!r}.")
    return int(found[1]) * UNITS[found[2]]
