"""Arguments in plain words: what names the target again is left out, and a text that is cut is read as far as it goes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.arguments import LONGEST, LONGEST_ONE, call_in_words, in_words, pairs

CART = "prod-eu/checkout/deployment/cart"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ('{"replicas":24,"image":"cart:1.5","force":true}', "replicas 24, image cart:1.5, force true"),
        ('{"deployment":"cart","namespace":"checkout","replicas":24}', "replicas 24"),
        ('{"spec":{"replicas":24,"hosts":["a","b"]},"wait":null}', "spec (replicas 24, hosts (a, b)), wait null"),
        ('{"text":"say \\"yes\\", {then}\\n go [on]: \\u00e9\\ud83d\\ude00"}', 'text say "yes", {then} go [on]: é😀'),
        ('{"map":{"es":"es-419"},"request_id":"1996db', "map (es es-419), request_id 1996db…"),
        ('{"map":{"es":"es-4', "map (es es-4…"),
        ('{"half":"\\ud83d"}', "half \N{REPLACEMENT CHARACTER}"),
        ('{"a":', "a …"),
        ('{"a', ""),
        ("{}", ""),
        ("", ""),
        (None, ""),
        ("scale cart\nto 24", "scale cart to 24"),
        ("[1, 2]", "[1, 2]"),
    ],
)
def test_arguments_in_words(told: str | None, words: str) -> None:
    assert in_words(told, {*CART.split("/"), CART}) == words


def test_what_does_not_fit_is_marked() -> None:
    assert in_words(json.dumps({"a": "x" * 300})) == "a " + "x" * (LONGEST_ONE - 1) + "…"
    two = {"a": "x" * 40, "b": "y" * 40, "c": 1}
    assert in_words(json.dumps(two)) == "a " + "x" * 40 + ", …"
    assert in_words("z" * 300) == "z" * (LONGEST - 1) + "…"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ('kubernetes.scale {"replicas":24,"deployment":"cart"} -> ok', "kubernetes.scale (replicas 24) -> ok"),
        (
            'scale on prod-eu/checkout/deployment/cart {"deployment":"cart"} -> error',
            f"scale on {CART} -> error",
        ),
        ('write {"a":"b -> c","d":"e -> ok', "write (a b -> c, d e…) -> ok"),
        ("ticket.read on a/b/c/d -> ok", "ticket.read on a/b/c/d -> ok"),
        ("2,036,147 tokens in this session", "2,036,147 tokens in this session"),
    ],
)
def test_a_call_in_words(told: str, words: str) -> None:
    assert call_in_words(told, CART) == words


plain = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(plain, values, max_size=5), st.booleans(), st.integers(0, 400))
def test_any_object_cut_anywhere_is_one_short_line_that_can_be_printed(
    given: dict[str, object], is_ascii: bool, cut: int
) -> None:
    told = json.dumps(given, ensure_ascii=is_ascii)
    assert [name for name, _ in pairs(told)] == list(given)
    words = in_words(told[:cut])
    assert len(words) <= LONGEST + len(", …")
    assert "\n" not in words
    words.encode()
