"""Reads `limits.yml`. What entries mean: pipeline/core/limits.py; every limit, with an example: pipeline/limits.md."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from alerts.rules import documents
from alerts.rules.documents import Fault
from pipeline.core.limits import Limit, Limits, Match
from schemas.errors import UsageError

MOST_FAULTS = 5  # as many as one reads; the rest is counted


def load_limits(path: Path | None) -> Limits:
    """The limits of a file; without one, none. Raises UsageError that names the file, the line and what to do."""
    if path is None:
        return Limits()
    document, faults = documents.read(path)
    if faults or document is None:
        raise _refused(faults)
    try:
        return Limits.model_validate(document.value if document.value is not None else {})
    except ValidationError as error:
        raise _refused([document.fault(fault["loc"], _said(fault)) for fault in error.errors()]) from error


def _said(fault: Any) -> str:
    """What is wrong, and of a name that does not exist which there are."""
    place = ".".join(map(str, fault["loc"]))
    if fault["type"] != "extra_forbidden":
        return f"{place}: {fault['msg']}"
    inside: dict[str, type[BaseModel]] = {"match": Match, "limits": Limit}
    around = next((inside[part] for part in reversed(fault["loc"][:-1]) if part in inside), Limits)
    return f"{place[:100]}: no such name; there are {', '.join(sorted(around.model_fields))}"


def _refused(faults: Sequence[Fault]) -> UsageError:
    said = "; ".join(map(str, faults[:MOST_FAULTS]))
    more = f"; and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
    return UsageError(f"the limits file is not used: {said}{more}")
