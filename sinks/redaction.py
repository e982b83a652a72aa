"""Takes secrets out of text before it is first written: whole columns at once, with linear-time patterns.

Supported classes: private keys, credentials in URLs, values beside a name such as `password` or `api_key` (in JSON, in
JSON inside JSON, in `name=value` and in headers), well-known token forms, e-mail addresses, card numbers. Numbers of
tokens (`input_tokens`) stay. In doubt it redacts: sixteen digits that begin like a card are taken for one.
Not found: what looks like ordinary words, what is encoded once more (base64), what is split over two fields.
"""

import polars as pl

from schemas.events import LONG_TEXT

NAMES = (
    r"(?:[a-z0-9_.-]*(?:password|passwd|passphrase|secret|api[_-]?key|access[_-]?key(?:[_-]?id)?|private[_-]?key|"
    r"signing[_-]?key|credential|connection[_-]?string)s?|(?:[a-z0-9.-]*[_.-])?(?:token|auth|authorization|cookie|"
    r"session[_-]?key|pwd)|set-cookie|x-auth-token)"
)
# Pattern -> what stands there instead. In order: a whole key before its parts, a named value before a bare one.
PATTERNS: tuple[tuple[str, str], ...] = (
    (r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)", "[private key]"),
    (r"\b([A-Za-z][A-Za-z0-9+.-]{1,20}://)[^\s/@:\"'\\]*:[^\s/@\"'\\]+@", "${1}[redacted]@"),
    (r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}", "${1} [redacted]"),
    (rf"(?i)(\\*\"{NAMES}\\*\"\s*:\s*\\+\")[^\"\\]+(\\+\")", "${1}[redacted]${2}"),
    (rf"(?i)(\"{NAMES}\"\s*:\s*\")(?:[^\"\\]|\\.)+(?:\"|\z)", '${1}[redacted]"'),
    (rf"(?i)(\b{NAMES}\s*[=:]\s*)(?:'[^']+'|[^\s\"'&,;<>\[\]{{}}\\]+)", "${1}[redacted]"),
    (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*", "[token]"),
    (r"\b(?:sk|pk|rk)[-_](?:[a-z]+[-_])*[A-Za-z0-9_-]{16,}", "[key]"),
    (r"\b(?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bglpat-[A-Za-z0-9_-]{16,}", "[key]"),
    (r"\bxox[abeprs]-[A-Za-z0-9-]{10,}|\bnpm_[A-Za-z0-9]{30,}", "[key]"),
    (r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[A-Za-z0-9_-]{30,}", "[key]"),
    (r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.[A-Za-z]{2,24}\b", "[e-mail]"),
    (r"\b(?:4\d{3}|5[1-5]\d{2}|2[2-7]\d{2}|6011|65\d{2})[ -]?\d{4}[ -]?\d{4}[ -]?\d{4}\b", "[card]"),
    (r"\b3[47]\d{2}[ -]?\d{6}[ -]?\d{5}\b", "[card]"),
)
COLUMNS = LONG_TEXT | {"previous_value"}


def redact(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with the secrets taken out of its free-text columns; other columns and the order stay."""
    names = [name for name in frame.columns if name in COLUMNS and frame.schema[name] == pl.String]
    return frame.with_columns(_redacted(pl.col(name)) for name in names)


def redact_text(text: str) -> str:
    """The same for one text: previews, log lines."""
    found: str = pl.select(_redacted(pl.lit(text, dtype=pl.String))).item()
    return found


def _redacted(column: pl.Expr) -> pl.Expr:
    for pattern, instead in PATTERNS:
        column = column.str.replace_all(pattern, instead)
    return column
