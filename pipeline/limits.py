"""Reads `limits.yml`. What the entries mean: pipeline/core/limits.py."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from alerts.rules import documents
from alerts.rules.documents import Fault
from pipeline.core.limits import Limits
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
        found = error.errors()
        raise _refused(
            [document.fault(fault["loc"], f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}") for fault in found]
        ) from error


def _refused(faults: Sequence[Fault]) -> UsageError:
    said = "; ".join(map(str, faults[:MOST_FAULTS]))
    more = f"; and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
    return UsageError(f"the limits file is not used: {said}{more}")
