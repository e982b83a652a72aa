"""Depth of JSON text: on both sides of the limit, in linear time."""

import json

import polars as pl
import pytest

from schemas.codecs.nesting import is_too_deep, too_deep_rows


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (nested(32), False),
        (nested(33), True),
        ('{"a":' * 33 + "1" + "}" * 33, True),
        ("[" * 33, True),  # not valid JSON: the parser would still dive
        ("[]" * 100, False),
        (json.dumps(["[" * 100]), False),
        (json.dumps(['\\"' + "[" * 100]), False),
        ('["' + "[" * 100, False),  # a string that is never closed
        ('"\\' + "[" * 100, False),
        ('"a"' + nested(33), True),
        ("", False),
    ],
)
def test_depth_is_that_of_brackets_outside_strings(text: str, expected: bool) -> None:
    assert is_too_deep(text) is expected
    assert too_deep_rows(pl.Series("a", [None, text, "{}"])) == ([1] if expected else [])


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", ["[" * 40 + '\\"' * 500_000, '"' * 500_001 + "[" * 33, '"\\' * 400_000 + "{" * 40])
def test_hostile_text_takes_linear_time(text: str) -> None:
    is_too_deep(text)
