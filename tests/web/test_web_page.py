"""The live page of a worker: what it tells of what it hears, and where it must not listen."""

import pytest

from alerts.rules.samples import sample_incident
from pipeline.settings import Settings
from pipeline.web_page import MOST_LINES, WebPage, told
from reports.tail import Tail
from schemas.codecs.single import encode_incident
from schemas.errors import ConfigurationError
from schemas.topics import INCIDENTS


def test_of_several_revisions_the_newest_is_told() -> None:
    incident = sample_incident({})
    newer = incident.model_copy(update={"revision": incident.revision + 1, "status": "resolved"})
    events = told([(INCIDENTS.name, encode_incident(item)) for item in (incident, newer)], Tail())
    assert [event for event in events if event["type"] == "incident"] == [
        {"type": "incident", "id": incident.incident_id, "revision": str(newer.revision), "status": "resolved"}
    ]
    assert any(incident.title in event["line"] for event in events if event["type"] == "line")


def test_more_lines_than_anybody_reads_are_left_out() -> None:
    incident = sample_incident({})
    many = [incident.model_copy(update={"incident_id": f"i{number}"}) for number in range(100)]
    events = told([(INCIDENTS.name, encode_incident(item)) for item in many], Tail())
    assert len([event for event in events if event["type"] == "line"]) == MOST_LINES
    assert len([event for event in events if event["type"] == "incident"]) == 100


async def test_for_others_it_asks_by_which_names_they_reach_it() -> None:
    with pytest.raises(ConfigurationError, match="AFTERMATH_WEB_HOSTS"):
        WebPage(Settings(web_host="0.0.0.0"), 0, lambda: 0)
    WebPage(Settings(web_host="0.0.0.0", web_hosts=("aftermath.example",)), 0, lambda: 0)
