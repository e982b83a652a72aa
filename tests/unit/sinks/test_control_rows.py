"""A rule in shadow says on the incident what it would have done, and that it did not."""

from schemas.controls import Control, with_id
from sinks.clickhouse.rows import control_frame, control_timeline_frame
from tests.builders import at


def test_what_a_rule_would_have_done_is_a_row_and_a_line_of_the_timeline() -> None:
    control = with_id(
        Control(
            tenant="acme", agent_id="seo-agent", tool_name="cms.write", action="pause", mode="shadow",
            author="rule:looping", reason="loops", at=at(0), until=at(600), probes=True, incident_id="i-1",
        )
    )  # fmt: skip
    assert control_frame([control])["mode"].to_list() == ["shadow"]
    (row,) = control_timeline_frame([control]).to_dicts()
    assert (row["tenant"], row["incident_id"]) == ("acme", "i-1")
    assert (
        row["shows"] == "in shadow, holding nobody: seo-agent tool cms.write paused for 10 min by rule:looping: loops"
    )
