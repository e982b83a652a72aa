"""An incident from the few fields a test names; everything else is neutral.

For the tests inside rule files, and for the tests of whoever needs an incident where most of it does not
matter. Neutral is: the first choice of a closed set, zero, an empty list, null; text is its own field's name.
"""

import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel

from schemas.incidents import Incident
from schemas.times import parse_time

SOME_TIME = parse_time("2026-03-02T10:00:00Z")


def sample_incident(partial: Mapping[str, Any]) -> Incident:
    """A whole incident. Raises pydantic.ValidationError where a field is unknown or its value is wrong."""
    return Incident.model_validate(_fill(Incident, partial))


def _fill(model: type[BaseModel], partial: Mapping[str, Any]) -> dict[str, Any]:
    filled = dict(partial)
    for name, info in model.model_fields.items():
        key = info.alias or name
        if key in partial:
            filled[key] = _fill_value(info.annotation, partial[key])
        elif info.is_required():
            filled[key] = _neutral(name, info.annotation)
    return filled


def _fill_value(annotation: Any, value: Any) -> Any:
    """Complete the parts inside a value that was given."""
    arguments = typing.get_args(annotation)
    if isinstance(value, list | tuple) and typing.get_origin(annotation) is tuple:
        return tuple(_fill_value(arguments[0], item) for item in value)
    if isinstance(value, Mapping):
        for kind in (annotation, *arguments):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                return _fill(kind, value)
    return value


def _neutral(name: str, annotation: Any) -> Any:
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return None
    if origin is Literal:
        return "undetermined" if name == "verdict" else typing.get_args(annotation)[0]
    if origin is tuple:
        return ()
    if origin is dict:
        return {}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _fill(annotation, {})
    if annotation is str:
        return name
    return SOME_TIME if name.endswith(("_at", "_time")) else annotation(0)
