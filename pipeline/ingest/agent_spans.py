"""OpenTelemetry spans -> AgentSpan rows, whatever dialect their attributes are in (names.py).

Everything is decided from the spans of one message: the same message gives the same rows, also when it is read again.
So what a span does not say itself is taken from those that came with it (whole.py), and nothing is remembered.

What is no agent's doing (an HTTP call, a chain, a task) is left out; what others call a field without our knowing it
stays in `attributes`, texts of prompts and answers excepted.
"""

from typing import Any, Final

from pipeline.core.limits import Limits
from pipeline.ingest import kept, usage
from pipeline.ingest.declared import declare
from pipeline.ingest.said import Said, said
from pipeline.ingest.services import DEFAULT_TENANT, Service, service_of
from pipeline.ingest.span_table import DEFAULTS
from pipeline.ingest.telemetry import ERROR_STATUS, Attributes, Span, UnmappableError
from pipeline.ingest.tool_calls import is_repeated, tool_call
from pipeline.ingest.values import digest, name_of, parsed
from schemas.errors import Reason
from schemas.times import EARLIEST, LATEST

Row = dict[str, Any]

CALLS: Final = frozenset(["chat", "retrieval"])  # what uses tokens itself
TOOLS: Final = frozenset(["execute_tool", "retrieval"])

NO_SESSION: Final = "resp_"  # the id of OpenAI's last response, which is new for each call


def agent_span(span: Span, limits: Limits, default_tenant: str = DEFAULT_TENANT) -> Row | None:
    """The row of one span; None where it is no agent's doing. Raises UnmappableError where its times make no sense."""
    told = said(span.attributes)
    found = told.fields
    operation = operation_of(span.attributes, told)
    if operation is None or is_repeated(span):
        return None
    start, end = times_of(span)
    service = service_of(span.origin, default_tenant)
    agent = name_of(found.get("agent"))
    row: Row = {
        **DEFAULTS,
        "event_time": end,
        "start_time": start,
        "duration_ms": (end - start) // 1000,
        "tenant": service.tenant,
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "parent_span_id": span.parent_span_id,
        "session_id": session_of(found) or span.trace_id,
        "agent_id": agent or service.name or name_of(found.get("agent_id")) or name_of(span.origin.scope) or "unknown",
        "agent_name": agent,
        "agent_version": name_of(found.get("agent_version")) or service.version,
        "operation": operation,
    }
    for field in ("task_type", "requested_by", "prompt_version"):
        if field in found:
            row[field] = name_of(found[field])
    if span.status == ERROR_STATUS or span.exceptions or "error_type" in found:
        _error(row, span, found)
    if "result" in found:
        row["result_digest"] = digest(found["result"])
    if operation in CALLS:
        _model_call(row, found)
    access_from = None
    if operation in TOOLS:
        access_from = tool_call(row, span, found, limits)
    if service.declares or told.plan.declares:
        access_from = declare(row, {**service.declares, **span.attributes}, access_from)
    row["attributes"] = _attributes(span, service, told.plan.content, access_from)
    return row


def operation_of(attributes: Attributes, told: Said) -> str | None:
    """What kind of call a span is, by what it says of itself, else by what only such a call says."""
    for name, kinds in told.plan.kinds:
        value = attributes[name]
        if isinstance(value, str):
            kind = kinds.get(value, "")
            if kind:
                return kind
            if kind is None:
                return None
    found = told.fields
    if "tool_name" in found:
        return "execute_tool"
    if "model" in found and ("input_tokens" in found or "provider" in found):
        return "chat"
    return "invoke_agent" if "gen_ai.agent.name" in attributes else None


def session_of(found: Attributes) -> str | None:
    """The session a span names. What some put there is none."""
    session = name_of(found.get("session"))
    return None if session is None or session.startswith(NO_SESSION) else session


def times_of(span: Span) -> tuple[int, int]:
    """Start and end; an end before the start, or none, is the start. Raises UnmappableError."""
    start, end = span.start, span.end
    if end < start:
        end = start
    elif not start:
        start = end
    if not EARLIEST <= start <= end < LATEST:
        raise UnmappableError(
            Reason.TIME_OUT_OF_RANGE, f"span {span.span_id} from {start} to {end} µs; from the year 2000, before 2200"
        )
    return start, end


def _error(row: Row, span: Span, found: Attributes) -> None:
    row["status"] = "error"
    named = found.get("error_type") or next(
        (kind for exception in span.exceptions if (kind := exception.get("exception.type"))), None
    )
    row["error_type"] = name_of(named) or name_of(span.message) or "error"


def _model_call(row: Row, found: Attributes) -> None:
    row["provider"], row["model"] = name_of(found.get("provider")), name_of(found.get("model"))
    row.update(usage.counts(found))
    row["context_tokens"] = row["input_tokens"] or None
    if "finish_reason" in found:
        row["finish_reason"] = name_of(first_of(found["finish_reason"]))
    if "system_prompt" in found:
        row["prompt_digest"] = digest(found["system_prompt"])


def first_of(value: Any) -> Any:
    """The first of a list, which may be JSON text; else the value."""
    value = parsed(value)
    return (value[0] if value else None) if isinstance(value, list) else value


def _attributes(span: Span, service: Service, content: tuple[str, ...], access_from: str | None) -> str:
    """The raw attributes as JSON, without texts of prompts and answers, with the name of the span and who sent it."""
    found = span.attributes.copy()
    for name in content:
        del found[name]
    found["span_name"] = span.name
    if access_from is not None:
        found["access_from"] = access_from
    if "gen_ai.conversation.compacted" in found:
        found["context.compacted"] = found["gen_ai.conversation.compacted"]
    found["resource"], found["scope"] = service.json, service.scope
    return kept.text_of(found)
