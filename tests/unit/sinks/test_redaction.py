"""Secrets leave the text, everything else stays."""

import json

import polars as pl
import pytest

from sinks.redaction import redact, redact_text

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
