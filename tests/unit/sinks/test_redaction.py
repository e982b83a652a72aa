"""Secrets leave the text, everything else stays."""

import json
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.signals import Action, Fact, Signal, Usage
from sinks.redaction import redact, redact_rows, redact_text

SECRETS = [
    ("Authorization: Bearer abcdefghijkl.mnop-qrst", "abcdefghijkl"),
    ('{"password": "hunter2 and more"}', "hunter2"),
    ('{"db_password":"a\\"b"}', "a\\"),
    ('{"args": "{\\"api_key\\": \\"k-12345\\"}"}', "k-12345"),
    ("curl -H 'X-Api-Key: k9k9k9k9'", "k9k9k9k9"),
    ("export AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI", "wJalrXUtnFEMI"),
    ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
    ("postgres://cart:s3cr3t@db/cart", "s3cr3t"),
    ("redis://:s3cr3t@cache", "s3cr3t"),
    ("sk-proj-abcdefghijklmnop1234", "abcdefghijklmnop"),
    ("ghp_abcdefghijklmnopqrstuvwx", "abcdefghijklmnop"),
    ("xoxb-123456789012-abcdef", "123456789012"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "eyJzdWIi"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "MIIE"),
    ("-----BEGIN PRIVATE KEY-----\nMIIEcut", "MIIEcut"),
    ("mail ines.m@acme.example now", "ines.m"),
    ("card 4111 1111 1111 1111, please", "1111"),
    ("378282246310005", "378282246310005"),
]
HARMLESS = [
    '{"replicas": 24, "input_tokens": 41200, "max_tokens": 1024}',
    "cart is short of replicas; see mw-311 at 2026-03-01T12:00:00Z",
    "1772366400000000",
    "00f067aa0ba902b7",
    "https://example.com/path?page=2",
    "basic checks passed: 12 of 12",
    "the token bucket is empty",
]


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_a_secret_does_not_stay(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in redact_text(text)


@pytest.mark.parametrize("text", HARMLESS)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert redact_text(text) == text


def test_json_stays_json() -> None:
    found = redact_text(json.dumps({"password": 'a "quoted" one', "replicas": 24, "token": "abc"}))
    assert json.loads(found) == {"password": "[redacted]", "replicas": 24, "token": "[redacted]"}


def test_only_free_text_columns_are_changed_and_the_rows_keep_their_order() -> None:
    frame = pl.DataFrame({"agent_id": ["a@b.example", "x"], "summary": ["ask a@b.example", None], "step": [1, 2]})
    assert redact(frame).to_dict(as_series=False) == {
        "agent_id": ["a@b.example", "x"],
        "summary": ["ask [e-mail]", None],
        "step": [1, 2],
    }


def test_a_hostile_text_takes_linear_time() -> None:
    text = "a" * 200_000 + "@" + "password=" * 20_000
    assert len(redact_text(text)) > 0


def a_signal(summary: str, evidence: str) -> Signal:
    return Signal(
        signal_id="s", type="feedback_loop.exact", tenant="t", window_start=0, window_end=1, detected_at=2,
        summary=summary, evidence=evidence,
    )  # fmt: skip


def an_action(**fields: str | None) -> Action:
    return Action(
        tenant="t", trace_id="1", span_id="2", session_id="s", agent_id="a", operation="execute_tool", access="write",
        start_time=0, end_time=1, status="ok", **fields,
    )  # fmt: skip


def a_fact(**fields: str) -> Fact:
    return Fact(
        tenant="t", fact_id="f", kind="flag", resource="r", event_time=0, published_time=0, valid_from=0, **fields
    )


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_rows_for_correlate_hold_no_secret_and_what_was_json_still_is(text: str, secret: str) -> None:
    quoted = json.dumps({"args": text, "calls": 6})
    rows = redact_rows(
        [
            a_signal(f"six times {text}", quoted),
            an_action(summary=text, tool_args=quoted, context_facts=f"[{quoted}]"),
            a_fact(value=text, previous_value=text, reason=text, message=text, labels=quoted),
            Usage(tenant="t", pane=0, source="x", rows=0, table=b""),
        ]
    )
    assert secret not in repr(rows)
    signal, action, fact, usage = rows
    assert json.loads(signal.evidence)["calls"] == 6  # type: ignore[union-attr]
    assert json.loads(action.tool_args)["calls"] == 6  # type: ignore[union-attr, arg-type]
    assert json.loads(fact.labels)["calls"] == 6  # type: ignore[union-attr, arg-type]
    assert isinstance(usage, Usage)


def test_names_of_what_a_session_had_read_stay_as_its_own_do() -> None:
    read = {"ok": True, "read_at": 1, "span_id": "4111111111111111", "target": "mailbox/ann@b.example", "tool": "mail"}
    action = an_action(target="mailbox/ann@b.example", observed=json.dumps([read]), summary="ask ann@b.example")
    (found,) = redact_rows([action])
    assert found == replace(action, summary="ask [e-mail]")


def test_rows_without_a_secret_are_the_same_objects() -> None:
    rows = [a_signal("six equal calls", '{"calls":6}'), an_action(tool_args='{"replicas":24}'), a_fact()]
    assert all(before is after for before, after in zip(rows, redact_rows(rows), strict=True))


@pytest.mark.parametrize(
    "value",
    [
        {"card": 4111111111111111, "n": [4111111111111111, 1], "ok": True, "none": None, "x": 1.5},
        {"password": {"a": ["hunter2 and 4111111111111111"]}, "pan": 378282246310005},
    ],
)
def test_a_card_number_that_is_a_bare_number_leaves_json(value: object) -> None:
    (signal,) = redact_rows([a_signal("", json.dumps(value))])
    assert isinstance(signal, Signal)
    found = json.loads(signal.evidence)
    assert set(found) == set(value)  # type: ignore[call-overload]
    assert "4111111111111111" not in signal.evidence
    assert "378282246310005" not in signal.evidence


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.text(max_size=20), st.sampled_from([text for text, _ in SECRETS])
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["password", "a", "token", "calls"]) | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(value=JSON)
def test_json_stays_json_whatever_stands_in_it(value: object) -> None:
    (signal,) = redact_rows([a_signal("", json.dumps(value, ensure_ascii=False))])
    assert isinstance(signal, Signal)
    json.loads(signal.evidence)


PIECES = [*(text for text, _ in SECRETS), *HARMLESS, "", " ", "\n", "ä", '"', "\\", "token=", "4111 1111"]


@given(st.lists(st.none() | st.lists(st.sampled_from(PIECES), max_size=4).map("".join), max_size=20))
def test_a_column_and_a_row_are_redacted_alike(texts: list[str | None]) -> None:
    frame = pl.DataFrame(
        {"summary": texts, "offset": range(len(texts))}, schema={"summary": pl.String, "offset": pl.Int64}
    )
    given_frame = frame.clone()
    rows = redact_rows(an_action(summary=text) for text in texts)
    redacted = redact(frame)
    assert redacted["summary"].to_list() == [row.summary for row in rows if isinstance(row, Action)]
    assert redacted["offset"].to_list() == list(range(len(texts)))
    assert frame.equals(given_frame)
