"""Lines of a file as they are, plain, .gz or .zst, each with its number; at most so many bytes of one are held.

A file that cannot be opened, or that ends in the middle of its compression, raises UsageError: what came before the
break is no recording of anything.
"""

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import zstandard

from schemas.errors import UsageError

LINE_LIMIT: Final = 8_000_000  # bytes; a message has at most a million, and JSON escapes stretch it
CHUNK: Final = 1 << 17
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """(number from 1, bytes) of each line that is not blank; None for one that is longer than 8 MB."""
    try:
        with path.open("rb") as raw, _plain(path, raw) as stream:
            yield from _numbered(stream)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file; check the path") from None
    except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
        raise UsageError(f"{path}: cannot be unpacked ({error}); get a whole copy of it") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error}); name a file of JSON lines") from None


def _numbered(stream: io.BufferedIOBase) -> Iterator[tuple[int, bytes | None]]:
    number = 0
    while line := stream.readline(LINE_LIMIT):
        number += 1
        if number == 1:
            line = line.removeprefix(BYTE_ORDER_MARK)
        if len(line) >= LINE_LIMIT and not line.endswith(b"\n"):
            while (rest := stream.readline(CHUNK)) and not rest.endswith(b"\n"):
                pass
            yield number, None
        elif not line.isspace():
            yield number, line


def _plain(path: Path, raw: io.BufferedReader) -> io.BufferedIOBase:
    if path.suffix == ".gz":
        return gzip.GzipFile(fileobj=raw)
    if path.suffix == ".zst":
        return io.BufferedReader(_Zstandard(raw), CHUNK)
    return raw


class _Zstandard(io.RawIOBase):
    """All frames of a .zst file. The library's own reader takes the end of the file for the end of a frame."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._is_inside = False  # a frame has begun and not ended
        self._packed = b""
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what BufferedReader passes
        while not self._ready:
            packed = self._packed or self._raw.read(CHUNK)
            if not packed:
                if self._is_inside:
                    raise EOFError("the file ends inside a zstd frame")
                return 0
            self._ready = self._frame.decompress(packed)
            self._packed = b""
            self._is_inside = not self._frame.eof
            if self._frame.eof:
                self._packed = self._frame.unused_data
                self._frame = zstandard.ZstdDecompressor().decompressobj()
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count
