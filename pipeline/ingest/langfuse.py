"""Exports of Langfuse -> telemetry: traces with their observations, or observations alone.

An observation is a span whose attributes Langfuse has kept in its metadata and read in its own way; its reading
(`type`, `model`, `usageDetails`, input and output) goes beside them under Langfuse's own attribute names, so that what
the program said goes first and gaps are filled.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from pipeline.ingest.telemetry import ERROR_STATUS, Origin, Span, Telemetry, UnmappableError
from schemas.codecs.nesting import is_too_deep
from schemas.errors import Reason
from schemas.times import parse_time

Found = Mapping[str, Any]

TYPES: Final = ("SPAN", "GENERATION", "EVENT", "TOOL", "AGENT", "CHAIN", "RETRIEVER", "EMBEDDING")


def is_export(found: Found) -> bool:
    """Whether an object is a trace with its observations, or an observation."""
    return isinstance(found.get("observations"), list) or ("traceId" in found and found.get("type") in TYPES)


def spans(found: Found) -> Telemetry:
    """The spans of one trace, or of one observation."""
    trace = found.get("trace") if isinstance(found.get("trace"), dict) else found
    observations = found.get("observations")
    telemetry = Telemetry()
    for seen in observations if isinstance(observations, list) else [found]:
        try:
            telemetry.spans.append(_span(seen, trace or {}))
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            fault = UnmappableError(Reason.WRONG_TYPE, f"an observation: {type(error).__name__}: {str(error)[:200]}")
            telemetry.faults.append(fault)
    return telemetry


def _span(seen: Found, trace: Found) -> Span:
    metadata = _object(seen.get("metadata"))
    attributes = dict(_object(metadata.get("attributes")))
    beside = {name: value for name, value in metadata.items() if name == "langgraph_step" or name.startswith("ls_")}
    said = {
        "langfuse.observation.type": str(seen["type"]).lower(),
        "langfuse.observation.model.name": seen.get("model"),
        "langfuse.observation.usage_details": seen.get("usageDetails"),
        "langfuse.observation.input": seen.get("input"),
        "langfuse.observation.output": seen.get("output"),
        "langfuse.session.id": trace.get("sessionId"),
        "gen_ai.provider.name": attributes.get("gen_ai.provider.name") or metadata.get("ls_provider"),
    }
    if seen["type"] == "TOOL":
        said["gen_ai.tool.name"] = attributes.get("gen_ai.tool.name") or attributes.get("tool.name") or seen.get("name")
    attributes |= beside | {name: value for name, value in said.items() if value is not None}
    resource, scope = dict(_object(metadata.get("resourceAttributes"))), _object(metadata.get("scope"))
    if trace.get("name"):
        resource.setdefault("service.name", trace["name"])
    start = parse_time(seen["startTime"])
    parent = seen.get("parentObservationId")
    return Span(
        Origin(resource, str(scope.get("name") or ""), str(scope.get("version") or "")),
        trace_id=_text(seen["traceId"]),
        span_id=_text(seen["id"]),
        parent_span_id=_text(parent) if parent else None,
        name=str(seen.get("name") or ""),
        start=start,
        end=parse_time(seen["endTime"]) if seen.get("endTime") else start,
        attributes=attributes,
        status=ERROR_STATUS if seen.get("level") == "ERROR" else 0,
        message=str(seen.get("statusMessage") or ""),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 200:
        raise ValueError(f"an id of {str(value)[:40]!r}")
    return value


def _object(value: Any) -> Found:
    if isinstance(value, str) and not is_too_deep(value):
        value = orjson.loads(value)
    return value if isinstance(value, dict) else {}
