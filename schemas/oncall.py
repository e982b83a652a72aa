"""What people on call say: silences and acknowledgements, as they stand on `oncall.v1`."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from schemas.codecs.single import UnreadableError, decode, encode
from schemas.errors import Reason


@dataclass(frozen=True, slots=True)
class Silencing:
    """One version of a silence; the fields of `schemas/avro/silence.v1.avsc`."""

    silence_id: str
    tenant: str
    matchers: str  # JSON list
    starts_at: int
    ends_at: int
    created_by: str
    comment: str

    @property
    def matcher_texts(self) -> list[str]:
        """The matchers as people write them."""
        found: list[str] = json.loads(self.matchers)
        return found

    @property
    def key(self) -> bytes:
        return f"{self.tenant}/silence/{self.silence_id}".encode()


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The fields of `schemas/avro/acknowledgement.v1.avsc`."""

    tenant: str
    incident_id: str
    acknowledged_at: int
    acknowledged_by: str
    comment: str = ""

    @property
    def key(self) -> bytes:
        return f"{self.tenant}/ack/{self.incident_id}".encode()


def encode_word(word: Silencing | Acknowledgement) -> bytes:
    """The message of one."""
    return encode("silence" if isinstance(word, Silencing) else "acknowledgement", asdict(word))


def decode_word(value: bytes) -> Silencing | Acknowledgement:
    """Raises UnreadableError."""
    name, fields = decode(value)
    kinds: Mapping[str, Any] = {"silence": Silencing, "acknowledgement": Acknowledgement}
    if name not in kinds:
        raise UnreadableError(Reason.WRONG_TYPE, f"a {name} where a silence or an acknowledgement belongs")
    found: Silencing | Acknowledgement = kinds[name](**fields)
    return found
