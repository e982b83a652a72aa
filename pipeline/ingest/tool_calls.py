"""What a span says of a tool call: its name, arguments, access and target."""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pipeline.core.limits import Limits
from pipeline.ingest import access
from pipeline.ingest.telemetry import Attributes, Span
from pipeline.ingest.values import digest_of, json_bytes, name_of, parsed
from schemas.events import TEXT_LENGTH

# BeeAI's instrumentation makes a span of each event of a call: start, success or error, finish
PHASED_SCOPES: Final = frozenset(["openinference.instrumentation.beeai"])
PHASE: Final = re.compile(r"\.(start|update|partial_update|new_token|retry|success|error|finish)-\d+$")
TOOL_NAMES: Final = ("traceloop.entity.name", "gen_ai.data_source.id")  # where the dialect's own name says nothing
HINTS: Final = ("mcp.tool.annotations.destructive_hint", "mcp.tool.annotations.read_only_hint")
WORKLOADS: Final = ("deployment", "statefulset", "pod", "service", "job")  # arguments that name one


def is_repeated(span: Span) -> bool:
    """Whether a span is one phase of a call whose outcome has a span of its own."""
    if span.origin.scope not in PHASED_SCOPES:
        return False
    phase = PHASE.search(span.name)
    return phase is not None and phase[1] not in ("success", "error")


def tool_call(row: dict[str, Any], span: Span, found: Attributes, limits: Limits) -> str:
    """Name, arguments, access and target, put into the row; returns where the access comes from."""
    tool = row["tool_name"] = name_of_tool(span, found)
    asked = asked_of(tool, found.get("tool_args"), span.origin.resource)
    row["args_digest"], row["tool_args"], row["target"] = asked.digest, asked.text, asked.target
    call = (row["tenant"], row["agent_id"], tool, asked.target, row["agent_version"])
    stated = stated_access(limits, row["start_time"], *call) if states_any(limits) else None
    hint = hinted(span.attributes.get(HINTS[0]), span.attributes.get(HINTS[1]), found.get("tool_type"))
    row["access"], access_from = access_of(stated, hint, row["operation"], tool, asked.command)
    return access_from


class Asked(NamedTuple):
    """What a call asks for: its arguments as digest and text, the resource they name, and a shell command in them."""

    digest: str | None = None
    text: str | None = None
    target: str | None = None
    command: Any = None


NOTHING: Final = Asked()


def asked_of(tool: str, arguments: Any, resource: Attributes) -> Asked:
    """The arguments of a call to this tool; text of them where it may be kept."""
    arguments = parsed(arguments)
    if arguments is None:
        return NOTHING
    data = json_bytes(arguments)
    digest = digest_of(b"%b\0%b" % (tool.encode("utf-8", "surrogatepass"), data))
    text = data.decode()
    kept = text if len(text) <= TEXT_LENGTH else None
    if not isinstance(arguments, dict):
        return Asked(digest, kept)
    return Asked(digest, kept, _target(arguments, resource), arguments.get("command", arguments.get("cmd")))


def states_any(limits: Limits) -> bool:
    """Whether the limits can state an access: most cannot, and asking costs as much as all else of a call."""
    return bool(limits.limits) or limits.before is not None


def stated_access(
    limits: Limits, start: int, tenant: str, agent_id: str, tool: str, target: str | None, version: str | None
) -> str | None:
    """What the limits that are in force at the start of a call say that its tool may do."""
    found: str | None = limits.in_force(start).value("access", tenant, agent_id, tool, target, version)
    return found


def access_of(stated: str | None, hint: str | None, operation: str, tool: str, command: Any) -> tuple[str, str]:
    """What a call may do, and where that comes from: the limits, what is declared, or a guess."""
    if stated is not None:
        return stated, "limits"
    if hint is not None or operation == "retrieval":
        return hint or "read", "declared"
    return access.guess(tool, command if isinstance(command, str) else None), "guess"


def name_of_tool(span: Span, found: Attributes) -> str:
    """The name of the tool; a span that says none is called by its own name."""
    said = found.get("tool_name")
    if not said:
        said = span.attributes.get(TOOL_NAMES[0]) or span.attributes.get(TOOL_NAMES[1])
        if said is None and span.origin.scope in PHASED_SCOPES:
            said = PHASE.sub("", span.name).rsplit(".", 1)[-1]
    return name_of(said) or name_of(span.name) or "?"


def hinted(destructive: Any, read_only: Any, tool_type: Any) -> str | None:
    """What the tool's own description says: the annotations of MCP, and OpenTelemetry's type for what only looks up."""
    if destructive in (True, "true"):
        return "destructive"
    if read_only in (True, "true") or tool_type == "datastore":
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
