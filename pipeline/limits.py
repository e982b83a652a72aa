"""Reads `limits.yml`. What the entries mean: pipeline/core/limits.py."""

from pathlib import Path

import yaml
from pydantic import ValidationError

from pipeline.core.limits import Limits
from schemas.errors import UsageError


def load_limits(path: Path | None) -> Limits:
    """The limits of a file; without one, none. Raises UsageError that names the file, the entry and what to do."""
    if path is None:
        return Limits()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Limits.model_validate(content if content is not None else {})
    except OSError as error:
        raise UsageError(f"cannot read the limits file {path}: {error.strerror}; check the path") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML: {str(error).splitlines()[0]}; mend the file") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise UsageError(f"{path}: {faults}") from error
