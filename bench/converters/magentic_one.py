"""Logs of failed Magentic-One runs (Who&When, MIT) as spans of five seconds each.

There is no clock in the logs: every message is given five seconds, and every log a quarter of an hour of its
own. Never judge rates or windows on it. The orchestrator's own verdict on loops is the label of the set, and
is cut out of its ledgers. `step` counts rounds (hand-offs so far), because that is what `max_steps` counts in
these runs; the place of a message in its log is its `span_id`.
"""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.converters.files import Event, data_set, main, without_nulls
from schemas.signals import compact_json, stable_hash
from schemas.times import MICROS, MINUTE, parse_time

TENANT = "whowhen-agentrx"
START = parse_time("2025-01-01T00:00:00Z")
STEP = 5 * MICROS
LOG_EVERY = 15 * MINUTE
LONGEST_ARGUMENT = 1_000
LONGEST_TEXT = 60_000

ROLE = re.compile(r"(?P<agent>[^(]+?)\s*(?:\((?P<kind>[^)]*)\))?$")
LOOP_VERDICT = re.compile(r'"is_in_loop":\s*\{.*?\}\s*,\s*(?="is_progress_being_made")', re.DOTALL)
ROUNDS = re.compile(r"Max rounds \((\d+)\) reached")
FAILED = re.compile(r"error|exception|failed|not found|timeout", re.IGNORECASE)
VERB = re.compile(r"I (\w+ed)\b")


def convert(folder: Path) -> Iterator[Event]:
    """Every message of the 58 logs but the task itself."""
    files = (data_set(folder, "whowhen_agentrx") / "hand_crafted").glob("*.json.gz")
    for place, path in enumerate(sorted(files, key=lambda path: int(path.name.split(".")[0]))):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            history = json.load(file)["history"]
        yield from spans(path.name.split(".")[0], history, START + place * LOG_EVERY)


def spans(name: str, history: list[dict[str, str]], start: int) -> Iterator[Event]:
    """The messages of one log as events."""
    rounds = ROUNDS.match(history[-1]["content"])
    done = 0
    for place, message in enumerate(history):
        found = ROLE.match(message["role"])
        if message["role"] == "human" or found is None:
            continue
        kind = found["kind"] or ""
        done += kind.startswith("->")
        yield without_nulls(
            {
                "type": "agent_span",
                "event_time": start + (place + 1) * STEP,
                "start_time": start + place * STEP,
                "duration_ms": STEP // 1000,
                "tenant": TENANT,
                "trace_id": name,
                "session_id": name,
                "root_session_id": name,
                "span_id": str(place),
                "agent_id": found["agent"],
                "step": done,
                "max_steps": int(rounds[1]) if rounds else None,
                "status": "ok",
            }
            | _meaning(kind, message["content"])
        )


def _meaning(kind: str, content: str) -> dict[str, Any]:
    if kind.startswith("->"):
        name = f"ask:{kind.removeprefix('->').strip()}"
        return {"operation": "handoff"} | _call(name, content[:LONGEST_TEXT])
    if kind == "thought":
        return {"operation": "decision", "summary": LOOP_VERDICT.sub("", content)[:LONGEST_TEXT]}
    if kind == "termination condition":
        return {"operation": "invoke_agent", "finish_reason": content.split("\n", 1)[0]}
    first = content.strip().split("\n\n", 1)[0][:LONGEST_ARGUMENT]
    verb = VERB.match(first)
    failed = {"status": "error", "error_type": "answer"} if FAILED.search(first) else {}
    return {"operation": "execute_tool"} | _call(verb[1] if verb else "act", first) | failed


def _call(name: str, text: str) -> dict[str, Any]:
    args = compact_json({"content": text})
    return {"tool_name": name, "tool_args": args, "args_digest": stable_hash(name, args)}


if __name__ == "__main__":
    main(convert, __doc__ or "")
