"""What to do about an error of ClickHouse, decided once, by its number.

    transient   the same rows with the same token again, until they are accepted; also what has no number (the network)
    bad_row     a row is to blame: halve the batch until it is alone, and give it back
    bad_setup   we are to blame (a missing table, no rights): stop; no row is blamed and none is lost

A number that stands in neither table is transient: rows are never given up for an error that nobody has looked at.
"""

from enum import StrEnum

from schemas.errors import DependencyError


class Verdict(StrEnum):
    TRANSIENT = "transient"
    BAD_ROW = "bad_row"
    BAD_SETUP = "bad_setup"


VERDICTS: dict[int, Verdict] = {
    **dict.fromkeys((159, 198, 202, 203, 209, 210, 236, 241, 242, 243, 252, 285, 319, 425, 999), Verdict.TRANSIENT),
    **dict.fromkeys((6, 26, 27, 33, 38, 41, 53, 69, 70, 72, 117, 131, 349, 469), Verdict.BAD_ROW),
    **dict.fromkeys(
        (8, 10, 16, 36, 43, 44, 46, 47, 48, 50, 60, 62, 73, 80, 81, 115, 164, 192, 193, 194, 497, 516, 691),
        Verdict.BAD_SETUP,
    ),
}
HINTS = {
    60: "run `aftermath setup` to create the tables",
    81: "run `aftermath setup` to create the database",
    164: "the user may only read; give AFTERMATH_CLICKHOUSE_USER one that may write",
    497: "grant the user of AFTERMATH_CLICKHOUSE_USER what it lacks",
    691: "the database is older than this version: run `aftermath setup`",  # a word that its Enum does not have yet
    516: "check AFTERMATH_CLICKHOUSE_USER and AFTERMATH_CLICKHOUSE_PASSWORD",
}

UNTRUSTED = "its certificate cannot be verified"
NO_TLS = "what answers there speaks no TLS"
NETWORK_HINTS = {  # errors without a number, by what they say
    UNTRUSTED: "set AFTERMATH_CLICKHOUSE_CA_FILE to the authority that signed it, and use the host name it is for",
    NO_TLS: "use the HTTPS port in AFTERMATH_CLICKHOUSE_URL",
}


def verdict_of(code: int | None) -> Verdict:
    """What to do about an error with this number; None is an error without one."""
    return VERDICTS.get(code, Verdict.TRANSIENT) if code is not None else Verdict.TRANSIENT


class ClickHouseError(DependencyError):
    """ClickHouse refused, or cannot be reached. `code` is its number for the reason, where it gave one."""

    def __init__(self, what: str, detail: str, code: int | None) -> None:
        self.code = code
        self.verdict = verdict_of(code)
        self.detail = detail
        hint = HINTS.get(code or 0) or (
            NETWORK_HINTS.get(detail, "check AFTERMATH_CLICKHOUSE_URL and that it is up")
            if code is None
            else "see the number in its documentation"
        )
        super().__init__(f"ClickHouse: {what}: {detail}{f' (code {code})' if code is not None else ''}; {hint}.")
