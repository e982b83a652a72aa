"""Whose incident it is."""

from pathlib import Path
from typing import Any

import pytest

from alerts.outbox import Outbox
from alerts.rules import SHIPPED, load_rules
from alerts.rules.samples import sample_incident
from pipeline.core.owners import Owners
from pipeline.owners import load_owners
from schemas.errors import UsageError

FILE = """\
owners:
  - {team: platform}
  - {team: checkout, scope: "prod-*/checkout"}
  - {team: growth, agent_id: "seo-*", tenant: acme}
"""


@pytest.mark.parametrize(
    ("incident", "team"),
    [
        ({}, "platform"),
        ({"scope": "prod-eu/checkout"}, "checkout"),
        ({"scope": "prod-eu/checkout2"}, "platform"),
        ({"scope": "prod-eu/checkout", "agent_id": "seo-agent", "tenant": "acme"}, "growth"),
        ({"scope": "prod-eu/checkout", "agent_id": "seo-agent", "tenant": "other"}, "checkout"),
        ({"scope": None, "agent_id": None}, "platform"),
    ],
)
def test_the_last_entry_that_covers_an_incident_says_its_team(
    tmp_path: Path, incident: dict[str, Any], team: str
) -> None:
    (tmp_path / "owners.yml").write_text(FILE)
    found = load_owners(tmp_path / "owners.yml").owned(sample_incident({"kind": "governance_breach"} | incident))
    assert found.owner == team
    (notification,) = Outbox(load_rules(SHIPPED)).decide(found)
    assert notification.label_map["owner"] == team


def test_without_entries_an_incident_stays_as_it_is() -> None:
    incident = sample_incident({})
    assert Owners().owned(incident) is incident
    assert load_owners(None) == Owners()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("team: growth", "taem: growth", "owners.yml:4: owners.2.team: Field required"),
        ("agent_id", "agent", "owners.yml:4: owners.2.agent: Extra inputs"),
        ("team: platform", "team: ''", "owners.yml:2: owners.0.team"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    (tmp_path / "owners.yml").write_text(FILE.replace(old, new))
    with pytest.raises(UsageError) as raised:
        load_owners(tmp_path / "owners.yml")
    assert says in str(raised.value)
