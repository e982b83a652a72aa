"""The demo's story as the load, and the judge of incidents and pages: they are those of a run without the fault."""

import json
from collections.abc import Iterable

from alerts.outbox import Outbox
from alerts.rules.files import SHIPPED, load_rules
from pipeline.backtest import Backtest
from pipeline.demo.recording import recording_of
from pipeline.demo.story import story
from pipeline.limits import load_limits
from pipeline.player import Player
from pipeline.settings import Settings
from schemas.codecs.single import decode, decode_incident
from schemas.incidents import Incident
from tests.faults.worker import ROOT

LIMITS = ROOT / "pipeline/demo/limits.yml"


class Story:
    """Played into the topics of these settings; `without_fault` is what a backtest finds in it."""

    def __init__(self, settings: Settings) -> None:
        self.without_fault = Backtest(load_limits(LIMITS))
        with recording_of(story()) as recording:
            for chunk in recording.chunks():
                self.without_fault.read(chunk)
            self.without_fault.finish()
            player = Player(settings.kafka_connection, pane=settings.pane, lateness=settings.lateness, readers=())
            player.play(recording.messages())

    def check_incidents(self, values: Iterable[bytes]) -> None:
        """Of everything that was ever written to incidents.v1: each revision says one thing, the newest the right one."""
        found: dict[tuple[str, int], set[str]] = {}
        for value in values:
            incident = decode_incident(value)
            found.setdefault((incident.incident_id, incident.revision), set()).add(bare(incident))
        assert all(len(contents) == 1 for contents in found.values()), "a revision was said in two ways"
        newest = {name: max(number for other, number in found if other == name) for name, _ in found}
        assert {name: found[name, number] for name, number in newest.items()} == {
            incident.incident_id: {bare(incident)} for incident in self.without_fault.outcomes.incidents
        }
        assert len(newest) == 3

    def check_pages(self, values: Iterable[bytes]) -> None:
        """Of everything that was ever written to notifications.v1: what is told is told, and nothing else."""
        told = [decode(value)[1] for value in values]
        assert {item["dedup_key"] for item in told if item["state"] == "sent"} == self.pages()

    def pages(self) -> set[str]:
        """The dedup keys of all pages that are due."""
        outbox = Outbox(load_rules(SHIPPED))
        return {
            notification.dedup_key
            for revision in self.without_fault.outcomes.revisions
            for notification in outbox.decide(revision)
        }


def bare(incident: Incident) -> str:
    """All but where in the log its evidence stands, which depends on the number of partitions."""
    fields = incident.model_dump(mode="json")
    for item in fields["evidence"]:
        del item["partition"], item["offset"]
    return json.dumps(fields, sort_keys=True)
