"""What a sender says of a span in our own words: attributes `aftermath.<field>`, of the span or of its resource."""

from typing import Any, Final

from pipeline.ingest import names, usage
from pipeline.ingest.telemetry import Attributes
from pipeline.ingest.values import json_text, name_of
from schemas.codecs.nesting import is_too_deep
from schemas.events import ACCESSES, APPROVALS, OPERATIONS, TEXT_LENGTH

COUNTS: Final = frozenset(["step", "max_steps", "attempt", "context_tokens", "context_limit"])
NAMED: Final = frozenset(
    [
        *("session_id", "root_session_id", "agent_id", "agent_name", "agent_version", "task_type", "requested_by"),
        *("prompt_digest", "prompt_version", "provider", "model", "tool_name", "args_digest", "result_digest"),
        *("target", "finish_reason", "error_type", "approved_by", "parent_span_id"),
    ]
)
TEXTS: Final = frozenset(["tool_args", "summary", "context_facts", "expects"])
CLOSED: Final = {"operation": OPERATIONS, "access": ACCESSES, "approval": APPROVALS}


FIELDS: Final = frozenset(names.PREFIX + field for field in (*COUNTS, *NAMED, *TEXTS, *CLOSED))


def is_declared(name: str) -> bool:
    """Whether an attribute says a field. `aftermath.tenant`, which most resources have, does not."""
    return name in FIELDS


def declare(row: dict[str, Any], said: Attributes, access_from: str | None) -> str | None:
    """Put it into the row, before everything else; a value that a field cannot have is left alone.

    Returns where the access comes from: declared, else as it was.
    """
    for name, value in said.items():
        if not name.startswith(names.PREFIX):
            continue
        field = name[len(names.PREFIX) :]
        if field in CLOSED:
            if value in CLOSED[field]:
                row[field] = value
                access_from = "declared" if field == "access" else access_from
        elif field in NAMED:
            row[field] = name_of(value) or row.get(field)
        elif field in COUNTS:
            row[field] = usage.count(value) or row.get(field) or (1 if field == "attempt" else None)
        elif field in TEXTS:
            text = value if isinstance(value, str) else json_text(value)
            row[field] = text if len(text) <= TEXT_LENGTH and not is_too_deep(text) else row.get(field)
    return access_from
