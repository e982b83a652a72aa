"""What every receiver promises, and how one is configured."""

from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from alerts.outbox import Notification
from schemas.incidents import Incident

MIN_BODY_BYTES = 16_000


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one attempt ended. `detail` never carries a secret: it is kept in `notifications.v1` and logged.

    `is_transient` is whether the same attempt may work later; `retry_after` is the least number of seconds
    the receiver asked for.
    """

    ok: bool
    detail: str
    is_transient: bool = False
    retry_after: float | None = None


class Receiver(Protocol):
    """Someone who can be told."""

    @property
    def name(self) -> str:
        """As rules name it."""

    async def send(self, notification: Notification, incident: Incident) -> Delivery:
        """One attempt, called by the notify stage, one at a time for each incident.

        Ends within the receiver's time-out. Whatever the other side does is a Delivery, not an exception.
        """


class ReceiverConfig(BaseModel):
    """One entry of the configuration. Values are not repeated in errors: they may be secrets."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kind: Literal["console", "webhook"]
    url: SecretStr | None = None  # webhook; many services put their key into the path
    secret: SecretStr | None = None  # webhook; `whsec_` and the base64 of 24 to 64 bytes
    allow_private: bool = False  # webhook; addresses inside: 127.0.0.1, 10.0.0.0/8, link-local, ...
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 10.0
    max_bytes: Annotated[int, Field(ge=MIN_BODY_BYTES, le=1_000_000)] = 20_000

    @model_validator(mode="after")
    def _check(self) -> "ReceiverConfig":
        if self.kind == "webhook" and self.url is None:
            raise ValueError("a webhook needs a url")
        if self.kind == "console" and (self.url is not None or self.secret is not None):
            raise ValueError("a console has no url and no secret; remove them, or set kind: webhook")
        return self
