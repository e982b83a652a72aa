"""State as bytes, for snapshots: our own dataclasses and models, containers, numbers, numpy columns and frames.

Only classes that are named can come back, and nothing is ever called but their constructors: who writes to the
snapshot topic cannot run code. Columns and frames become blobs of their own, compressed; all else is JSON.
"""

import dataclasses
import io
from collections import deque
from collections.abc import Iterable, Mapping
from functools import cache
from math import isfinite
from typing import Any

import numpy as np
import orjson
import polars as pl
import zstandard
from pydantic import BaseModel

from schemas.errors import AftermathError

LEVEL = 1
AS_IT_IS = frozenset((str, int, bool, type(None)))  # in JSON
DTYPE_KINDS = "iufbS"  # numbers, booleans and fixed bytes: nothing that holds Python objects
Classes = Mapping[str, type[Any]]


class StateError(AftermathError):
    """Saved state cannot be read: it is not ours, from another version, or damaged."""


class Written:
    """What stays of one snapshot of a state for the next: the JSON of its frozen values, which cannot have changed.

    It holds them, so that none of their ids is taken by another value meanwhile.
    """

    def __init__(self) -> None:
        self.texts: dict[int, tuple[Any, orjson.Fragment]] = {}


def encode(value: Any, classes: Classes, written: Written | None = None) -> list[bytes]:
    """Blobs, the first of them JSON. Raises TypeError where a value is of no class that is named.

    written: of the last snapshot of the same state; becomes that of this one.
    """
    written = written or Written()
    encoder = _Encoder({cls: name for name, cls in classes.items()}, written.texts)
    tree = encoder.plain(value)
    written.texts = encoder.texts
    return [orjson.dumps({"state": tree, "shared": encoder.shared}), *encoder.blobs]


def decode(blobs: list[bytes], classes: Classes) -> Any:
    """What was encoded. Raises StateError."""
    try:
        found = orjson.loads(blobs[0])
        decoder = _Decoder(blobs, classes)
        for tree in found["shared"]:
            decoder.shared.append(decoder.value(tree))
        return decoder.value(found["state"])
    except (KeyError, IndexError, ValueError, TypeError, zstandard.ZstdError, pl.exceptions.PolarsError) as error:
        raise StateError(f"saved state cannot be read ({type(error).__name__}: {error}); it is left aside") from error


class _Encoder:
    """shared: values of frozen classes, each once however many hold it; what one of them holds stands before it.

    An action is held by whoever watches it or waits for it: thousands of them, of two kilobytes. Those that are in
    `known` were written before; `texts` is what the next snapshot may know.
    """

    def __init__(self, names: Mapping[type[Any], str], known: Mapping[int, tuple[Any, orjson.Fragment]]) -> None:
        self.names = names
        self.blobs: list[bytes] = []
        self.shared: list[Any] = []
        self.texts: dict[int, tuple[Any, orjson.Fragment]] = {}
        self._known = known
        self._places: dict[int, int] = {}  # id of a value -> its place; what is saved holds them all until the end

    def plain(self, value: Any) -> Any:
        if value is None or isinstance(value, str | bool | int):
            return value
        if isinstance(value, float):
            return value if isfinite(value) else {"x": repr(value)}  # JSON has no such number
        if isinstance(value, np.integer):
            return int(value)
        if isinstance(value, list):
            return {"l": self.each(value)}
        if isinstance(value, tuple):
            return {"t": self.each(value)}
        if isinstance(value, set | frozenset):
            return {"s": self.each(value)}
        if isinstance(value, deque):
            return {"q": self.each(value), "m": value.maxlen}
        if isinstance(value, dict):
            return {"d": [self.each(pair) for pair in value.items()]}
        if isinstance(value, bytes):
            return {"b": self._blob(value)}
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in DTYPE_KINDS:
                raise TypeError(f"a column of {value.dtype} cannot be saved")
            return {"n": value.dtype.str, "h": list(value.shape), "b": self._blob(value.tobytes())}
        if isinstance(value, pl.DataFrame):
            body = io.BytesIO()
            value.write_ipc_stream(body, compression="lz4")
            return {"i": self._blob(body.getvalue())}
        cls: Any = type(value)
        name = self.names.get(cls)
        if name is None:
            raise TypeError(f"{type(value).__name__} is not among the classes that can be saved")
        if isinstance(value, BaseModel):
            return {"p": name, "v": value.model_dump(mode="json")}
        if not cls.__dataclass_params__.frozen:
            return self._tree(value, name)
        place = self._places.get(id(value))
        if place is None:
            text = self._text(value, name)
            place = self._places[id(value)] = len(self.shared)
            self.shared.append(text)
        return {"r": place}

    def _tree(self, value: Any, name: str) -> dict[str, Any]:
        cls: Any = type(value)
        return {"c": name, "f": self.each([getattr(value, field) for field in _fields(cls)])}

    def _text(self, value: Any, name: str) -> Any:
        """A frozen value; as JSON where it holds nothing but texts and numbers, and no place that may be another next
        time."""
        known = self._known.get(id(value))
        if known is None or known[0] is not value:
            tree = self._tree(value, name)
            if any(isinstance(item, dict) and "x" not in item for item in tree["f"]):
                return tree
            known = value, orjson.Fragment(orjson.dumps(tree))
        self.texts[id(value)] = known
        return known[1]

    def each(self, values: Iterable[Any]) -> list[Any]:
        """Most of what is saved are texts and numbers: those cost no call."""
        return [value if type(value) in AS_IT_IS else self.plain(value) for value in values]

    def _blob(self, data: bytes) -> int:
        self.blobs.append(zstandard.compress(data, LEVEL))
        return len(self.blobs)  # the first blob is the JSON


class _Decoder:
    """The other way; `shared` grows in order."""

    def __init__(self, blobs: list[bytes], classes: Classes) -> None:
        self.blobs = blobs
        self.classes = classes
        self.shared: list[Any] = []

    def value(self, tree: Any) -> Any:
        if not isinstance(tree, dict):
            return tree
        if "x" in tree:
            return float(tree["x"])
        if "r" in tree:
            return self.shared[tree["r"]]
        if "l" in tree:
            return self.each(tree["l"])
        if "t" in tree:
            return tuple(self.each(tree["t"]))
        if "s" in tree:
            return set(self.each(tree["s"]))
        if "q" in tree:
            return deque(self.each(tree["q"]), maxlen=tree["m"])
        if "d" in tree:
            return {self.value(key): self.value(item) for key, item in tree["d"]}
        if "n" in tree:
            dtype = np.dtype(tree["n"])
            if dtype.kind not in DTYPE_KINDS:
                raise ValueError(f"a column of {dtype}")
            return np.frombuffer(self._blob(tree), dtype=dtype).reshape(tree["h"]).copy()
        if "i" in tree:
            return pl.read_ipc_stream(io.BytesIO(zstandard.decompress(self.blobs[tree["i"]])))
        if "b" in tree:
            return self._blob(tree)
        if "p" in tree:
            return self.classes[tree["p"]].model_validate(tree["v"])
        cls: Any = self.classes[tree["c"]]
        return cls(**dict(zip(_fields(cls), self.each(tree["f"]), strict=True)))

    def each(self, trees: Iterable[Any]) -> list[Any]:
        return [self.value(tree) if isinstance(tree, dict) else tree for tree in trees]

    def _blob(self, tree: dict[str, Any]) -> bytes:
        return zstandard.decompress(self.blobs[tree["b"]])


@cache
def _fields(cls: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls))
