"""Matchers as Alertmanager reads them."""

import time

import pytest

from alerts.routing.matchers import parse_matcher

LABELS = {"severity": "critical", "scope": "prod-eu/checkout", "quote": 'a"b\\c'}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('severity="critical"', True),
        ("severity=critical", True),
        (' severity = "critical" ', True),
        ('severity!="critical"', False),
        ('absent=""', True),
        ('absent!=""', False),
        ("absent=", True),
        ('scope=~"prod-.*"', True),
        ('scope=~"prod"', False),
        ('scope=~"prod-eu/checkout|x"', True),
        ('scope!~"prod"', True),
        ('absent=~".*"', True),
        ('absent=~".+"', False),
        ('scope=~"prod-\\w+/.*"', True),
        ('quote="a\\"b\\\\c"', True),
    ],
)
def test_a_matcher_holds_or_not(text: str, expected: bool) -> None:
    assert parse_matcher(text).matches(LABELS) is expected
    assert parse_matcher(str(parse_matcher(text))) == parse_matcher(text)


@pytest.mark.parametrize("text", ["", "severity", "=x", '1a="x"', 'a=="x"', 'a="x', 'a="x" or b="y"', "a" * 2_000])
def test_what_is_no_matcher_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no matcher"):
        parse_matcher(text)


@pytest.mark.parametrize("text", ['a=~"("', 'a=~"(?=x)"', 'a=~"(x)\\1"'])
def test_what_is_no_expression_of_re2_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a regular expression"):
        parse_matcher(text)


def test_no_value_makes_an_expression_run_long() -> None:
    matcher = parse_matcher('agent_id=~"(a+)+b"')
    began = time.monotonic()
    assert not matcher.matches({"agent_id": "a" * 200})
    assert time.monotonic() - began < 1.0
