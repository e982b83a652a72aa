"""What a span says of a tool call: its name, arguments, access and target."""

import re
from collections.abc import Mapping
from typing import Any, Final

from pipeline.core.limits import Limits
from pipeline.ingest import access
from pipeline.ingest.telemetry import Attributes, Span
from pipeline.ingest.values import digest_of, json_bytes, name_of, parsed
from schemas.events import TEXT_LENGTH

# BeeAI's instrumentation makes a span of each event of a call: start, success or error, finish
PHASED_SCOPES: Final = frozenset(["openinference.instrumentation.beeai"])
PHASE: Final = re.compile(r"\.(start|update|partial_update|new_token|retry|success|error|finish)-\d+$")
WORKLOADS: Final = ("deployment", "statefulset", "pod", "service", "job")  # arguments that name one


def is_repeated(span: Span) -> bool:
    """Whether a span is one phase of a call whose outcome has a span of its own."""
    if span.origin.scope not in PHASED_SCOPES:
        return False
    phase = PHASE.search(span.name)
    return phase is not None and phase[1] not in ("success", "error")


def tool_call(row: dict[str, Any], span: Span, found: Attributes, limits: Limits) -> str:
    """Name, arguments, access and target, put into the row; returns where the access comes from."""
    tool = row["tool_name"] = _name(span, found)
    arguments = parsed(found.get("tool_args"))
    target = None
    command = None
    if arguments is not None:
        data = json_bytes(arguments)
        row["args_digest"] = digest_of(b"%b\0%b" % (tool.encode("utf-8", "surrogatepass"), data))
        text = data.decode()
        if len(text) <= TEXT_LENGTH:
            row["tool_args"] = text
        if isinstance(arguments, dict):
            target = row["target"] = _target(arguments, span.origin.resource)
            command = arguments.get("command", arguments.get("cmd"))
    if limits.limits or limits.before is not None:  # most have none, and asking costs as much as all else of a call
        called = (row["tenant"], row["agent_id"], tool, target, row["agent_version"])
        stated = limits.in_force(row["start_time"]).value("access", *called)
        if stated is not None:
            row["access"] = stated
            return "limits"
    hint = _hint(span.attributes, found)
    if hint is not None or row["operation"] == "retrieval":
        row["access"] = hint or "read"
        return "declared"
    row["access"] = access.guess(tool, command if isinstance(command, str) else None)
    return "guess"


def _name(span: Span, found: Attributes) -> str:
    said = found.get("tool_name")
    if not said:
        attributes = span.attributes
        said = attributes.get("traceloop.entity.name") or attributes.get("gen_ai.data_source.id")
        if said is None and span.origin.scope in PHASED_SCOPES:
            said = PHASE.sub("", span.name).rsplit(".", 1)[-1]
    return name_of(said) or name_of(span.name) or "?"


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
    if not namespace:
        return None
    if kind is None:
        kind = next((each for each in WORKLOADS if each in arguments), None)
        name = arguments.get(kind) if kind else None
    parts = (arguments.get("cluster") or resource.get("k8s.cluster.name") or "cluster", namespace, kind, name)
    if not all(isinstance(part, str) and part and "/" not in part for part in parts):
        return None
    return name_of("/".join((parts[0], parts[1], parts[2].lower(), parts[3])))  # type: ignore[arg-type, union-attr]
