"""A guard without a broker, whose clock is turned by hand and whose copies are fed by records as Aftermath writes them."""

from typing import Any

from aftermath_client import Guard
from aftermath_client.copies import CONTROLS, FACTS, LIMITS

from pipeline.core.limit_versions import document_of
from pipeline.core.limits import Limits
from pipeline.correlation.board import key_of
from schemas.codecs.single import encode, encode_record
from schemas.controls import Control, with_id
from schemas.signals import Fact
from tests.builders import at

CART = "prod/shop/deployment/cart"
DB = "prod/shop/statefulset/cart-db"


class Clock:
    """Seconds after T0."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def __call__(self) -> int:
        return at(self.seconds)


def a_guard(clock: Clock | None = None, **more: Any) -> Guard:
    return Guard(None, **{"tenant": "acme", "agent_id": "agent-1", "now": clock or Clock(), **more})


def post(guard: Guard, *facts: Fact) -> None:
    for fact in facts:
        guard.copy.put(FACTS, key_of(fact), encode_record(fact))


def fact(fact_id: str, kind: str = "maintenance", resource: str = DB, begins: float = -60, **fields: Any) -> Fact:
    ends = fields.pop("ends", None)
    return Fact(
        tenant=fields.pop("tenant", "acme"), fact_id=fact_id, kind=kind, resource=resource, event_time=at(begins),
        published_time=at(fields.pop("published", begins)), valid_from=at(begins),
        valid_until=None if ends is None else at(ends), **fields,
    )  # fmt: skip


def hold(guard: Guard, seconds: float | None = 600, **fields: Any) -> Control:
    found: dict[str, Any] = {
        "tenant": "acme", "agent_id": "agent-1", "action": "halt" if seconds is None else "pause",
        "author": "user:mo", "reason": "writes the same hook", "at": at(0),
        "until": None if seconds is None else at(seconds),
    }  # fmt: skip
    control = with_id(Control(**found | fields))
    guard.copy.put(CONTROLS, control.key, encode("control", control.as_record()))
    return control


def limit(guard: Guard, *entries: dict[str, Any], version: int = 1, **fields: Any) -> None:
    found = Limits.model_validate({"version": version, "limits": entries, **fields})
    record = {"version": version, "effective_from": found.effective_from, "document": document_of(found)}
    guard.copy.put(LIMITS, f"*/{version}", encode("limits_version", record))


def spans(guard: Guard) -> list[dict[str, Any]]:
    """What would be sent, oldest first; each can be encoded."""
    from aftermath_client.codec import encode as encode_span

    found = []
    while (span := guard.spans.take()) is not None:
        encode_span("agent_span", span)
        found.append(span)
    return found
