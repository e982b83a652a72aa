"""Receivers: who is told, and in which form. One file a kind; `build` is the list of all kinds."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

from alerts.receivers.console import ConsoleReceiver
from alerts.receivers.receiver import Delivery, Receiver, ReceiverConfig
from alerts.receivers.shadow import ShadowReceiver
from alerts.receivers.webhook import WebhookReceiver
from alerts.rules.model import SHADOW, Rule
from schemas.errors import ConfigurationError


def build(
    config: Mapping[str, ReceiverConfig],
    *,
    now: Callable[[], int],
    stream: TextIO | None = None,
    rules: Sequence[Rule] = (),
) -> Mapping[str, Receiver]:
    """The receivers of a configuration by name, and the shadow.

    `now` gives microseconds UTC. `stream` is where the console writes: standard error unless given, because
    standard output belongs to the command. From `rules` pages take runbook and owner. Raises
    ConfigurationError.
    """
    by_id = {rule.id: rule for rule in rules}
    found: dict[str, Receiver] = {SHADOW: ShadowReceiver()}
    for name, entry in config.items():
        if name == SHADOW:
            raise ConfigurationError(f"receiver {SHADOW}: the name is taken for shadow rules; choose another")
        if entry.kind == "console":
            found[name] = ConsoleReceiver(name, stream or sys.stderr, by_id)
        else:
            found[name] = WebhookReceiver(name, entry, now, by_id)
    return found


__all__ = ["Delivery", "Receiver", "ReceiverConfig", "build"]
