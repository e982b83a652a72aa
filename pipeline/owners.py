"""Reads `owners.yml`. What entries mean: pipeline/core/owners.py."""

from pathlib import Path

from pydantic import ValidationError

from alerts.rules import documents
from pipeline.core.owners import Owners
from schemas.errors import UsageError


def load_owners(path: Path | None) -> Owners:
    """The owners of a file; without one, none. Raises UsageError with every fault, its file and line."""
    if path is None:
        return Owners()
    document, faults = documents.read(path)
    if document is not None and not faults:
        try:
            return Owners.model_validate(document.value if document.value is not None else {})
        except ValidationError as error:
            faults = [document.fault(fault["loc"], _words(fault["loc"], fault["msg"])) for fault in error.errors()]
    raise UsageError("\n  ".join((f"correct the owners ({len(faults)} faults):", *map(str, faults))))


def _words(location: tuple[int | str, ...], message: str) -> str:
    return f"{'.'.join(map(str, location))[:100]}: {message}"
