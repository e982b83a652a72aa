"""OpenTelemetry spans -> AgentSpan rows, whatever dialect their attributes are in (names.py).

Everything is decided from the spans of one message: the same message gives the same rows, also when it is read again.
So what a span does not say itself is taken from those that came with it (whole.py), and nothing is remembered.

What is no agent's doing (an HTTP call, a chain, a task) is left out; what others call a field without our knowing it
stays in `attributes`, texts of prompts and answers excepted.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import orjson

from pipeline.core.limits import Limits
from pipeline.ingest import access, names, usage
from pipeline.ingest.telemetry import ERROR_STATUS, Attributes, Origin, Span, UnmappableError
from schemas.codecs.nesting import is_too_deep
from schemas.errors import Reason
from schemas.events import ACCESSES, APPROVALS, NAME_LENGTH, OPERATIONS, TEXT_LENGTH
from schemas.times import EARLIEST, LATEST

Row = dict[str, Any]

DEFAULT_TENANT: Final = "default"
TENANT_NAMES: Final = ("aftermath.tenant", "tenant.id", "tenant")
UNKNOWN_SERVICE: Final = "unknown_service"  # what SDKs call a service without a name
ATTRIBUTES_LENGTH: Final = 16_384
VALUE_LENGTH: Final = 1_024
MOST_PLANNED: Final = 64  # attributes; spans with more are rare, and their names often made up

# attribute -> (field, rank of the name)
FIELD_OF: Final[Mapping[str, tuple[str, int]]] = {
    name: (field, rank) for field, found in names.FIELDS.items() for rank, name in enumerate(found)
}
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
# BeeAI's instrumentation makes a span of each event of a call: start, success or error, finish
PHASED_SCOPES: Final = frozenset(["openinference.instrumentation.beeai"])
PHASE: Final = re.compile(r"\.(start|update|partial_update|new_token|retry|success|error|finish)-\d+$")
WORKLOADS: Final = ("deployment", "statefulset", "daemonset", "pod", "service", "job")  # arguments that name one
CALLS: Final = frozenset(["chat", "retrieval"])  # what uses tokens itself
TOOLS: Final = frozenset(["execute_tool", "retrieval"])


@dataclass(slots=True)
class Said:
    """What the attributes of one span say."""

    fields: Attributes  # field -> value, by the name that goes first
    kept: Attributes  # the raw attributes, without texts of prompts and answers
    declares: bool  # some are in our own words


def agent_span(span: Span, limits: Limits, default_tenant: str = DEFAULT_TENANT) -> Row | None:
    """The row of one span; None where it is no agent's doing. Raises UnmappableError where its times make no sense."""
    said = _said(span.attributes)
    found = said.fields
    operation = operation_of(span.attributes, found)
    if operation is None or (span.origin.scope in PHASED_SCOPES and _is_repeated(span)):
        return None
    start, end = times_of(span)
    service = _service(span.origin, default_tenant)
    agent = name_of(found.get("agent"))
    row: Row = {
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
        "status": "ok",
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
        access_from = _tool_call(row, span, found, limits)
    if service.declares or said.declares:
        access_from = _declared(row, {**service.declares, **span.attributes}, access_from)
    row["attributes"] = _attributes_text(span, service, said.kept, access_from)
    return row


def operation_of(attributes: Attributes, found: Attributes) -> str | None:
    """What kind of call a span is, by what it says of itself, else by what only such a call says."""
    for name, kinds in names.KINDS.items():
        said = attributes.get(name)
        if said is not None and isinstance(said, str):
            kind = kinds.get(said, "")
            if kind:
                return kind
            if kind is None:
                return None
    if "tool_name" in found:
        return "execute_tool"
    if "model" in found and ("input_tokens" in found or "provider" in found):
        return "chat"
    return "invoke_agent" if "gen_ai.agent.name" in attributes else None


def _is_repeated(span: Span) -> bool:
    """Whether a span is one phase of a call whose outcome has a span of its own."""
    phase = PHASE.search(span.name)
    return phase is not None and phase[1] not in ("success", "error")


def session_of(found: Attributes) -> str | None:
    """The session a span names. Some put the id of OpenAI's last response there, which is new for each call."""
    session = name_of(found.get("session"))
    return None if session is None or session.startswith("resp_") else session


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


def _said(attributes: Attributes) -> Said:
    present = tuple(attributes)
    plan = _plan(present) if len(present) <= MOST_PLANNED else _plan.__wrapped__(present)
    fields: Attributes = {}
    for name, field in plan.fields:
        value = attributes[name]
        if value is not None and value != "" and field not in fields:
            fields[field] = value
    return Said(fields, {name: attributes[name] for name in plan.kept}, plan.declares)


@dataclass(frozen=True, slots=True)
class Plan:
    """How to read spans that have these attributes, in this order: an instrumentation writes few combinations."""

    fields: tuple[tuple[str, str], ...]  # attribute, the field it holds; of one field, the name that goes first
    kept: tuple[str, ...]  # those that are no texts of prompts and answers
    declares: bool


@lru_cache(4096)
def _plan(attributes: tuple[str, ...]) -> Plan:
    fields = sorted((FIELD_OF[name][1], name) for name in attributes if name in FIELD_OF)
    kept = tuple(name for name in attributes if not _is_content(name))
    return Plan(
        fields=tuple((name, FIELD_OF[name][0]) for _, name in fields),
        kept=kept,
        declares=any(name.startswith(names.PREFIX) for name in kept),
    )


def _is_content(name: str) -> bool:
    return name in names.CONTENT or name.startswith(names.CONTENT_PREFIXES)


@dataclass(slots=True)
class Service:
    """What the resource says of all its spans."""

    name: str | None
    version: str | None
    tenant: str
    declares: Attributes
    json: orjson.Fragment
    scope: str


def _service(origin: Origin, default_tenant: str) -> Service:
    """Worked out once for all spans of an origin."""
    known: Service | None = origin.cache.get("service")
    if known is None:
        resource = origin.resource
        name = name_of(resource.get("service.name"))
        known = origin.cache["service"] = Service(
            name=None if name is None or name.startswith(UNKNOWN_SERVICE) else name,
            version=name_of(resource.get("service.version")),
            tenant=next((found for key in TENANT_NAMES if (found := name_of(resource.get(key)))), default_tenant),
            declares={key: value for key, value in resource.items() if key.startswith(names.PREFIX)},
            json=_fragment(_cut(resource)),
            scope=f"{origin.scope}@{origin.scope_version}" if origin.scope_version else origin.scope,
        )
    return known


def tenant_of(origin: Origin, default_tenant: str) -> str:
    """The tenant that a resource names."""
    return _service(origin, default_tenant).tenant


def _error(row: Row, span: Span, found: Attributes) -> None:
    row["status"] = "error"
    said = found.get("error_type") or next(
        (kind for exception in span.exceptions if (kind := exception.get("exception.type"))), None
    )
    row["error_type"] = name_of(said) or name_of(span.message) or "error"


def _model_call(row: Row, found: Attributes) -> None:
    row["provider"], row["model"] = name_of(found.get("provider")), name_of(found.get("model"))
    counts = usage.counts(found)
    row.update(counts)
    row["context_tokens"] = counts["input_tokens"] or None
    if "finish_reason" in found:
        row["finish_reason"] = name_of(_first(found["finish_reason"]))
    if "system_prompt" in found:
        row["prompt_digest"] = digest(found["system_prompt"])


def _tool_call(row: Row, span: Span, found: Attributes, limits: Limits) -> str:
    """Name, arguments, access and target; returns where the access comes from."""
    attributes = span.attributes
    said = found.get("tool_name") or attributes.get("traceloop.entity.name") or attributes.get("gen_ai.data_source.id")
    if said is None and span.origin.scope in PHASED_SCOPES:
        said = PHASE.sub("", span.name).rsplit(".", 1)[-1]
    tool = row["tool_name"] = name_of(said) or name_of(span.name) or "?"
    arguments = parsed(found.get("tool_args"))
    if arguments is not None:
        text = json_text(arguments)
        row["args_digest"] = _hash(f"{tool}\0{text}")
        if len(text) <= TEXT_LENGTH:
            row["tool_args"] = text
    named = arguments if isinstance(arguments, dict) else {}
    row["target"] = _target(named, span.origin.resource)
    stated = None
    if limits.limits or limits.before is not None:  # most have none, and asking costs as much as all else of a call
        stated = limits.in_force(row["start_time"]).value("access", row["tenant"], row["agent_id"], tool, row["target"])
    if stated is not None:
        row["access"] = stated
        return "limits"
    hint = _hint(attributes, found)
    if hint is not None or row["operation"] == "retrieval":
        row["access"] = hint or "read"
        return "declared"
    command = named.get("command", named.get("cmd"))
    row["access"] = access.guess(tool, command if isinstance(command, str) else None)
    return "guess"


def _hint(attributes: Attributes, found: Attributes) -> str | None:
    """What the tool's own description says: the annotations of MCP, and OpenTelemetry's type for what only looks up."""
    if attributes.get("mcp.tool.annotations.destructive_hint") in (True, "true"):
        return "destructive"
    if attributes.get("mcp.tool.annotations.read_only_hint") in (True, "true") or found.get("tool_type") == "datastore":
        return "read"
    return None


def _target(arguments: Mapping[str, Any], resource: Attributes) -> str | None:
    """The resource that the arguments of a Kubernetes tool name; None where they name none."""
    namespace, kind, name = arguments.get("namespace"), arguments.get("kind"), arguments.get("name")
    if kind is None:
        kind = next(
            (each for each in ("deployment", "statefulset", "pod", "service", "job") if each in arguments), None
        )
        name = arguments.get(kind) if kind else None
    parts = (arguments.get("cluster") or resource.get("k8s.cluster.name") or "cluster", namespace, kind, name)
    if not all(isinstance(part, str) and part and "/" not in part for part in parts):
        return None
    return name_of("/".join((parts[0], parts[1], parts[2].lower(), parts[3])))  # type: ignore[arg-type, union-attr]


def _declared(row: Row, said: Attributes, access_from: str | None) -> str | None:
    """What the sender says in our own words goes before everything; a value that a field cannot have is left alone."""
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


def _attributes_text(span: Span, service: Service, kept: Attributes, access_from: str | None) -> str:
    """The raw attributes as JSON, with the name of the span and who sent it."""
    kept["span_name"] = span.name
    if access_from is not None:
        kept["access_from"] = access_from
    if "gen_ai.conversation.compacted" in kept:
        kept["context.compacted"] = kept["gen_ai.conversation.compacted"]
    kept["resource"], kept["scope"] = service.json, service.scope
    text = _dumped(kept)
    if len(text) > ATTRIBUTES_LENGTH:
        kept = _cut(kept)
        text = _dumped(kept)
        while len(text) > ATTRIBUTES_LENGTH:  # then those that come first go: the last are ours
            kept = dict(list(kept.items())[len(kept) // 2 :])
            text = _dumped(kept)
    return text


def _cut(attributes: Attributes) -> Attributes:
    return {name: _shorter(value) for name, value in attributes.items()}


def _shorter(value: Any) -> Any:
    if isinstance(value, str):
        return value[:VALUE_LENGTH]
    return value if isinstance(value, int | float | bool | None | orjson.Fragment) else json_text(value)[:VALUE_LENGTH]


def _fragment(attributes: Attributes) -> orjson.Fragment:
    text = _dumped(attributes)
    return orjson.Fragment(text if len(text) <= ATTRIBUTES_LENGTH // 4 else "{}")


def _dumped(value: Attributes) -> str:
    """JSON of attributes; what JSON cannot say (NaN, a number beyond 64 bits, half a character) is said otherwise."""
    try:
        return orjson.dumps(value).decode()
    except (TypeError, ValueError):
        return json_text(value)


def json_text(value: Any) -> str:
    """JSON that is the same for the same value."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except (TypeError, ValueError):
        return orjson.dumps(str(value).encode("utf-8", "replace").decode()).decode()


def parsed(value: Any) -> Any:
    """Arguments as they are, or as the JSON in a text says; a text that is none stays a text."""
    if not isinstance(value, str):
        return value
    if value[:1] in "[{" and not is_too_deep(value):
        try:
            return orjson.loads(value)
        except ValueError:
            pass
    return value


def digest(value: Any) -> str:
    """Of a result: the same for the same JSON, however its keys are ordered."""
    return _hash(json_text(parsed(value)))


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _first(value: Any) -> Any:
    value = parsed(value)
    return (value[0] if value else None) if isinstance(value, list) else value


def name_of(value: Any) -> str | None:
    """A value as a name: text of at most 512 characters; None where there is none."""
    if type(value) is str and 0 < len(value) <= NAME_LENGTH:  # nearly all are
        return value
    if value is None or value == "" or isinstance(value, list | dict):
        return None
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= NAME_LENGTH else text[:NAME_LENGTH]
