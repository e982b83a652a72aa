"""What became of an agent's write, as it stands on `watches.v1`."""

from dataclasses import asdict, dataclass
from typing import Literal

from schemas.codecs.single import UnreadableError, decode, encode
from schemas.errors import Reason

Ending = Literal["regressed", "clean", "not_enough_data"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A watch that is closed; the fields of `schemas/avro/watched.v1.avsc`."""

    tenant: str
    span_id: str
    session_id: str
    agent_id: str
    agent_version: str | None
    tool_name: str | None
    target: str | None
    began_at: int
    closed_at: int
    outcome: Ending
    resources: int
    heard: int
    shows: str
    symptom_id: str | None = None
    symptom_resource: str | None = None
    symptom_at: int | None = None
    topic: str = ""
    partition: int = -1
    offset: int = -1

    @property
    def key(self) -> bytes:
        return f"{self.tenant}/{self.span_id}".encode()


def encode_watched(watched: Watched) -> bytes:
    """The message of one."""
    return encode("watched", asdict(watched))


def decode_watched(value: bytes) -> Watched:
    """Raises UnreadableError."""
    name, fields = decode(value)
    if name != "watched":
        raise UnreadableError(Reason.WRONG_TYPE, f"a {name} where a watched write belongs")
    return Watched(**fields)
