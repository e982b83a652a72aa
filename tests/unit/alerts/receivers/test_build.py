"""A configuration becomes receivers, or one sentence that says what is wrong with it."""

import pytest
from pydantic import ValidationError

from alerts.outbox import Outbox
from alerts.page import Pages
from alerts.receivers import ReceiverConfig, build
from alerts.rules import Rule, sample_incident
from schemas.errors import ConfigurationError

CONSOLE = ReceiverConfig(kind="console")


def test_each_receiver_has_the_name_that_rules_use() -> None:
    hook = ReceiverConfig.model_validate({"kind": "webhook", "url": "https://example.com/x"})
    found = build({"console": CONSOLE, "hook": hook}, now=lambda: 0)
    assert {name: receiver.name for name, receiver in found.items()} == {
        "shadow": "shadow",
        "console": "console",
        "hook": "hook",
    }


def test_the_name_of_the_shadow_is_taken() -> None:
    with pytest.raises(ConfigurationError, match="choose another"):
        build({"shadow": CONSOLE}, now=lambda: 0)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"kind": "webhook"}, "a webhook receiver needs a url"),
        ({"kind": "console", "url": "https://example.com/"}, "a console receiver has no url"),
        ({"kind": "pigeon"}, "'console', 'webhook', "),
        ({"kind": "alertmanager"}, "an alertmanager receiver needs a url"),
        ({"kind": "pagerduty", "url": "https://example.com/"}, "a pagerduty receiver needs a secret"),
        ({"kind": "email", "url": "smtp://relay:25"}, "an email receiver needs a sender"),
        ({"kind": "webhook", "url": "https://example.com/", "channel": "C1"}, "a webhook receiver has no channel"),
        ({"kind": "slack"}, "a slack receiver has a url"),
        ({"kind": "slack", "url": "https://example.com/", "secret": "xoxb"}, "bot token. and a channel"),
        ({"kind": "console", "colour": True}, "colour"),
        ({"kind": "webhook", "url": "https://example.com/", "timeout_seconds": 0}, "timeout_seconds"),
    ],
)
def test_a_wrong_configuration_is_refused(config: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        ReceiverConfig.model_validate(config)


async def test_a_shadow_rule_is_accepted_and_nobody_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    rule = Rule.model_validate(
        {
            "id": "r",
            "title": "r",
            "when": {"kind": "feedback_loop"},
            "mode": "shadow",
            "runbook": "docs/r.md",
            "owner": "t",
        }
    )
    incident = sample_incident({"kind": "feedback_loop", "revision": 4})
    (notification,) = Outbox([rule]).decide(incident)
    receivers = build({"console": CONSOLE}, now=lambda: 0, pages=Pages([rule]))
    delivery = await receivers[notification.receiver].send(notification, incident)
    assert delivery.ok
    assert delivery.detail == "shadow rule: nobody was told (revision 4)"
    assert capsys.readouterr() == ("", "")
