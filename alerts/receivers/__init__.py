"""Receivers: who is told, and in which form. One file a kind; `build` is the list of all kinds."""

import sys
from collections.abc import Callable, Mapping
from typing import TextIO

from alerts.page import Pages
from alerts.receivers.alertmanager import AlertmanagerReceiver
from alerts.receivers.console import ConsoleReceiver
from alerts.receivers.email import EmailReceiver
from alerts.receivers.opsgenie import OpsgenieReceiver
from alerts.receivers.pagerduty import PagerDutyReceiver
from alerts.receivers.receiver import Delivery, Receiver, ReceiverConfig
from alerts.receivers.shadow import ShadowReceiver
from alerts.receivers.slack import SlackReceiver
from alerts.receivers.webhook import WebhookReceiver
from alerts.rules.model import SHADOW
from schemas.errors import ConfigurationError


def build(
    config: Mapping[str, ReceiverConfig],
    *,
    now: Callable[[], int],
    stream: TextIO | None = None,
    pages: Pages | None = None,
) -> Mapping[str, Receiver]:
    """The receivers of a configuration by name, and the shadow.

    `now` gives microseconds UTC. `stream` is where the console writes: standard error unless given, because
    standard output belongs to the command. `pages` knows rules and links. Raises ConfigurationError.
    """
    pages = pages or Pages()
    found: dict[str, Receiver] = {SHADOW: ShadowReceiver()}
    for name, entry in config.items():
        if name == SHADOW:
            raise ConfigurationError(f"receiver {SHADOW}: the name is taken for shadow rules; choose another")
        match entry.kind:
            case "console":
                found[name] = ConsoleReceiver(name, stream or sys.stderr, pages)
            case "email":
                found[name] = EmailReceiver(name, entry, pages)
            case "webhook":
                found[name] = WebhookReceiver(name, entry, now, pages)
            case "alertmanager":
                found[name] = AlertmanagerReceiver(name, entry, now, pages)
            case "pagerduty":
                found[name] = PagerDutyReceiver(name, entry, now, pages)
            case "slack":
                found[name] = SlackReceiver(name, entry, now, pages)
            case "opsgenie":
                found[name] = OpsgenieReceiver(name, entry, now, pages)
    return found


__all__ = ["Delivery", "Receiver", "ReceiverConfig", "build"]
