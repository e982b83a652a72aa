"""What every receiver promises, and how one is configured."""

from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from yarl import URL

from alerts.outbox import Notification
from alerts.page import Told
from schemas.incidents import Incident

MIN_BODY_BYTES = 16_000
Kind = Literal["console", "webhook", "alertmanager", "pagerduty", "slack", "opsgenie", "email"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one attempt ended. `detail` never carries a secret: it is kept in `notifications.v1` and logged.

    `is_transient` is whether the same attempt may work later; `retry_after` is the least number of seconds
    the receiver asked for; `reference` is what the receiver calls the message, where it must be named to change it.
    """

    ok: bool
    detail: str
    is_transient: bool = False
    retry_after: float | None = None
    reference: str = ""


class Receiver(Protocol):
    """Someone who can be told."""

    @property
    def name(self) -> str:
        """As rules name it."""

    @property
    def resend_seconds(self) -> float | None:
        """How often what is open has to be said again, or is taken to be over; None where once is enough."""

    @property
    def urls(self) -> tuple[URL, ...]:
        """Where it connects to, with the port; nowhere for one that writes or drops. For `aftermath doctor`."""

    @property
    def can_renew(self) -> bool:
        """Whether what was told can be told anew without waking anyone: the message is changed where it stands."""

    async def send(self, notification: Notification, incident: Incident, others: Told = ()) -> Delivery:
        """One attempt, called by the notify stage, one at a time for each incident.

        `others` is what the same message tells, too. Ends within the receiver's time-out. Whatever the other side
        does is a Delivery, not an exception.
        """


@dataclass(frozen=True, slots=True)
class Fields:
    """Which fields of the configuration a kind has: those it needs, and those it may have."""

    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()


FIELDS: dict[Kind, Fields] = {
    "console": Fields(),
    "webhook": Fields(needs=("url",), may=("secret",)),
    "alertmanager": Fields(needs=("url",), may=("secret",)),
    "pagerduty": Fields(needs=("secret",), may=("url",)),
    "slack": Fields(may=("url", "secret", "channel")),
    "opsgenie": Fields(needs=("secret",), may=("url",)),
    "email": Fields(needs=("url", "sender", "recipients"), may=("secret",)),
}


class ReceiverConfig(BaseModel):
    """One entry of the configuration. Values are not repeated in errors: they may be secrets."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kind: Kind
    url: SecretStr | None = None  # many services put their key into the path
    secret: SecretStr | None = None  # webhook: whsec_...; the key, token or password of the others
    channel: str | None = None  # slack with a token: the channel's id; C0123456789
    sender: str | None = None  # email: aftermath@example.com
    recipients: tuple[str, ...] | None = None  # email
    allow_private: bool = False  # addresses inside: 127.0.0.1, 10.0.0.0/8, link-local, ...
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 10.0
    max_bytes: Annotated[int, Field(ge=MIN_BODY_BYTES, le=500_000)] = 20_000

    @model_validator(mode="after")
    def _check(self) -> "ReceiverConfig":
        fields = FIELDS[self.kind]
        article = "an" if self.kind[0] in "aeo" else "a"
        for name in fields.needs:
            if getattr(self, name) is None:
                raise ValueError(f"{article} {self.kind} receiver needs a {name}")
        for name in ("url", "secret", "channel", "sender", "recipients"):
            if name not in (*fields.needs, *fields.may) and getattr(self, name) is not None:
                raise ValueError(f"{article} {self.kind} receiver has no {name}; remove it, or set another kind")
        is_whole = (self.secret is None) == (self.channel is None)
        if self.kind == "slack" and (not is_whole or (self.url is None and self.secret is None)):
            raise ValueError("a slack receiver has a url (incoming webhook), or a secret (bot token) and a channel")
        return self
