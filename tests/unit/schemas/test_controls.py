"""Controls: what they are about, when they hold, and what is not used."""

from typing import Any

import pytest

from schemas.controls import ALL, Control, ControlError, control_of, with_id
from tests.builders import at


def control(**fields: Any) -> Control:
    found: dict[str, Any] = {
        "tenant": "acme", "agent_id": "seo-agent", "action": "pause", "author": "user:mo", "reason": "loops",
        "at": at(0), "until": at(60),
    }  # fmt: skip
    return Control(**found | fields)


def test_a_key_says_what_it_is_about_and_no_name_can_pretend_to_be_two() -> None:
    assert control().key == "acme/seo-agent/*/*/*"
    assert control(tool_name="cms.write", target="a/b/hook/c").key == "acme/seo-agent/*/cms.write/a/b/hook/c"
    assert control(tenant="acme/seo-agent", agent_id="x").key == "acme%2Fseo-agent/x/*/*/*"


def test_a_pause_ends_by_itself_and_a_halt_does_not() -> None:
    assert [control().holds(at(second)) for second in (0, 59.9, 60)] == [True, True, False]
    assert control(action="halt", until=None).holds(at(10**6))
    assert not control(action="resume").holds(at(1))
    assert not control(mode="shadow").holds(at(1))


def test_one_that_probes_is_half_open_for_as_long_again() -> None:
    probing = control(probes=True)
    assert [probing.is_in_force(at(second)) for second in (60, 119.9, 120)] == [True, True, False]


def test_given_twice_it_is_one() -> None:
    assert with_id(control()).control_id == with_id(with_id(control())).control_id
    assert with_id(control()).control_id != with_id(control(reason="other")).control_id


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({}, "other/seo-agent/*/*/*"),
        ({"tenant": ALL}, "*/seo-agent/*/*/*"),
        ({"agent_id": ALL}, "acme/*/*/*/*"),
        ({"action": "explode"}, "acme/seo-agent/*/*/*"),
        ({"mode": "loud"}, "acme/seo-agent/*/*/*"),
    ],
)
def test_what_is_not_of_its_keys_agent_is_refused(fields: dict[str, Any], key: str) -> None:
    with pytest.raises(ControlError):
        control_of(control(**fields).as_record(), key)


def test_a_record_is_the_control_it_was_written_from() -> None:
    made = with_id(control(incident_id="i-1"))
    assert control_of(made.as_record(), made.key) == made
