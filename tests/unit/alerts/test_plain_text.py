"""Text from outside cannot repaint a terminal, fake a line or turn a name around."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.plain_text import UNSEEN, plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cart \x1b[31;1mred\x1b[0m", "cart red"),
        ("\x1b]0;owned\x07title", "title"),
        ("\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\", "click"),
        ("\x9b2Jgone", "gone"),
        ("\x1bcreset", "reset"),
        ("one\nPAGE critical FIRING\r\ttwo", "one PAGE critical FIRING two"),
        ("a\u2028b", "a b"),
        ("abc\u202egpj.exe", "abcgpj.exe"),
        ("zero\u200bwidth\x00\x07", "zerowidth"),
        ("  Köln, 東京, 🚨  ", "Köln, 東京, 🚨"),
        ("a\ud800b", "ab"),
        ("unfinished \x1b[31", "unfinished"),
    ],
)
def test_what_is_not_text_is_removed(text: str, expected: str) -> None:
    assert plain(text) == expected


def test_a_long_text_is_cut_and_says_so() -> None:
    assert plain("a" * 79, 79) == "a" * 79
    assert plain("a" * 80, 79) == "a" * 78 + "…"


@given(st.text(alphabet=st.characters(), max_size=60), st.integers(1, 40))
def test_any_text_becomes_one_bounded_line_without_controls(text: str, length: int) -> None:
    found = plain(text, length)
    assert len(found) <= length
    assert not any(unicodedata.category(sign) in UNSEEN for sign in found)
    assert len(found.splitlines()) <= 1
