"""The five outcomes of a message, the reasons for a no, and the exceptions of the project.

AftermathError          one sentence that says what to do; the command prints it and exits with `exit_code`
+-- UsageError          2: what was asked for is wrong (an argument, a file, a rule)
+-- DependencyError     3: Kafka, ClickHouse or a receiver cannot be reached
+-- ConfigurationError  2: settings that would lose data or make no sense
"""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What became of a message. There is no sixth, and they add up to what was read."""

    ACCEPTED = "accepted"
    DROPPED = "dropped"  # valid, not wanted
    LATE = "late"  # archived, counted, not detected on
    REJECTED = "rejected"  # dead letter
    FAILED = "failed"  # ours: retry, then stop


class Reason(StrEnum):
    """Why a message was rejected. Reaches the dead letter, the log and the metric."""

    EMPTY = "empty"
    TOO_LARGE = "too_large"
    UNKNOWN_ENCODING = "unknown_encoding"
    UNKNOWN_FINGERPRINT = "unknown_fingerprint"
    TRUNCATED = "truncated"
    TRAILING_BYTES = "trailing_bytes"
    MALFORMED = "malformed"
    INVALID_UTF8 = "invalid_utf8"
    NESTED_TOO_DEEP = "nested_too_deep"
    WRONG_TYPE = "wrong_type"
    MISSING_FIELD = "missing_field"
    UNKNOWN_FIELD = "unknown_field"
    UNKNOWN_VALUE = "unknown_value"
    TIME_OUT_OF_RANGE = "time_out_of_range"
    NEGATIVE_NUMBER = "negative_number"
    NOT_FINITE = "not_finite"
    TEXT_TOO_LONG = "text_too_long"
    CRASHES = "crashes"  # the process died each time it was read


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message that can never be processed: where it was, why not, and its bytes."""

    offset: int
    reason: Reason
    detail: str
    value: bytes
    key: bytes | None = None
    ingest_time: int = 0


class AftermathError(Exception):
    """One sentence that says what to do."""

    exit_code = 1


class UsageError(AftermathError):
    """What was asked for is wrong."""

    exit_code = 2


class ConfigurationError(UsageError):
    """Settings that would lose data or make no sense."""


class DependencyError(AftermathError):
    """Something we need is down. `retry_after`: the least number of seconds to wait, where it said so."""

    exit_code = 3
    retry_after: float | None = None
