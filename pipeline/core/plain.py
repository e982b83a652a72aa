"""State as bytes, for snapshots: our own dataclasses and models, containers, numbers, numpy columns and frames.

Only classes that are named can come back, and nothing is ever called but their constructors: who writes to the
snapshot topic cannot run code. Columns and frames become blobs of their own, compressed; all else is JSON.
"""

import dataclasses
import io
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import polars as pl
import zstandard
from pydantic import BaseModel

from schemas.errors import AftermathError

LEVEL = 1
DTYPE_KINDS = "iufbS"  # numbers, booleans and fixed bytes: nothing that holds Python objects
Classes = Mapping[str, type[Any]]


class StateError(AftermathError):
    """Saved state cannot be read: it is not ours, from another version, or damaged."""


def encode(value: Any, classes: Classes) -> list[bytes]:
    """Blobs, the first of them JSON. Raises TypeError where a value is of no class that is named."""
    names = {cls: name for name, cls in classes.items()}
    blobs: list[bytes] = []
    tree = _plain(value, names, blobs)
    return [orjson.dumps(tree), *blobs]


def decode(blobs: list[bytes], classes: Classes) -> Any:
    """What was encoded. Raises StateError."""
    try:
        return _value(orjson.loads(blobs[0]), classes, blobs)
    except (KeyError, IndexError, ValueError, TypeError, zstandard.ZstdError, pl.exceptions.PolarsError) as error:
        raise StateError(f"saved state cannot be read ({type(error).__name__}: {error}); it is left aside") from error


def _plain(value: Any, names: Mapping[type[Any], str], blobs: list[bytes]) -> Any:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, list):
        return {"l": [_plain(item, names, blobs) for item in value]}
    if isinstance(value, tuple):
        return {"t": [_plain(item, names, blobs) for item in value]}
    if isinstance(value, set | frozenset):
        return {"s": [_plain(item, names, blobs) for item in value]}
    if isinstance(value, deque):
        return {"q": [_plain(item, names, blobs) for item in value], "m": value.maxlen}
    if isinstance(value, dict):
        return {"d": [[_plain(key, names, blobs), _plain(item, names, blobs)] for key, item in value.items()]}
    if isinstance(value, bytes):
        return {"b": _blob(value, blobs)}
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in DTYPE_KINDS:
            raise TypeError(f"a column of {value.dtype} cannot be saved")
        return {"n": value.dtype.str, "h": list(value.shape), "b": _blob(value.tobytes(), blobs)}
    if isinstance(value, pl.DataFrame):
        body = io.BytesIO()
        value.write_ipc_stream(body, compression="lz4")
        return {"i": _blob(body.getvalue(), blobs)}
    name = names.get(type(value))
    if name is None:
        raise TypeError(f"{type(value).__name__} is not among the classes that can be saved")
    if isinstance(value, BaseModel):
        return {"p": name, "v": value.model_dump(mode="json")}
    fields = [_plain(getattr(value, field.name), names, blobs) for field in dataclasses.fields(value)]
    return {"c": name, "f": fields}


def _blob(data: bytes, blobs: list[bytes]) -> int:
    blobs.append(zstandard.compress(data, LEVEL))
    return len(blobs)  # the first blob is the JSON


def _value(tree: Any, classes: Classes, blobs: list[bytes]) -> Any:
    if not isinstance(tree, dict):
        return tree
    if "l" in tree:
        return [_value(item, classes, blobs) for item in tree["l"]]
    if "t" in tree:
        return tuple(_value(item, classes, blobs) for item in tree["t"])
    if "s" in tree:
        return {_value(item, classes, blobs) for item in tree["s"]}
    if "q" in tree:
        return deque((_value(item, classes, blobs) for item in tree["q"]), maxlen=tree["m"])
    if "d" in tree:
        return {_value(key, classes, blobs): _value(item, classes, blobs) for key, item in tree["d"]}
    if "n" in tree:
        dtype = np.dtype(tree["n"])
        if dtype.kind not in DTYPE_KINDS:
            raise ValueError(f"a column of {dtype}")
        return np.frombuffer(zstandard.decompress(blobs[tree["b"]]), dtype=dtype).reshape(tree["h"]).copy()
    if "i" in tree:
        return pl.read_ipc_stream(io.BytesIO(zstandard.decompress(blobs[tree["i"]])))
    if "b" in tree:
        return zstandard.decompress(blobs[tree["b"]])
    if "p" in tree:
        return classes[tree["p"]].model_validate(tree["v"])
    cls = classes[tree["c"]]
    values = [_value(item, classes, blobs) for item in tree["f"]]
    return cls(**dict(zip((field.name for field in dataclasses.fields(cls)), values, strict=True)))
