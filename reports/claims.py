"""The claims of a Markdown document: each paragraph, item of a list and row of a table below the head, as one text.

The head is what stands before the first heading of the second level, where there is one: title, people, dates.
Headings, heads of tables, code and the notes themselves claim nothing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

HEADING = re.compile(r"#{1,6}\s")
HEAD_ENDS = re.compile(r"##\s")
FENCE = re.compile(r"\s*(```|~~~)")
NOTE = re.compile(r"\[\^([^\]\s]+)\]:")
NOTED = re.compile(r"\[\^([^\]\s]+)\](?!:)")
ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+")
RULE_OF_TABLE = re.compile(r"\s*\|?\s*:?-{3,}:?\s*(\||$)")
CODE = re.compile(r"`[^`]*`")


@dataclass(frozen=True, slots=True)
class Claim:
    """line: where it begins, counted from 1. text: without code and the mark of its item. notes: those it names."""

    line: int
    text: str
    notes: frozenset[str]


def defined_notes(text: str) -> frozenset[str]:
    """The names of the notes that the document has."""
    return frozenset(match[1] for line in text.splitlines() if (match := NOTE.match(line)))


def claims(text: str) -> Iterator[Claim]:
    """All of them, in order."""
    lines = text.splitlines()
    start = next((number for number, line in enumerate(lines) if HEAD_ENDS.match(line)), 0)
    begun, parts, is_code = 0, list[str](), False
    for number, line in enumerate([*lines[start:], ""], start + 1):
        is_row = _is_row(line)
        is_fence = FENCE.match(line) is not None
        breaks = is_fence or is_code or is_row or not line.strip() or _starts(line)
        if parts and (breaks or _is_row(parts[0])):
            yield _claim(begun, parts)
            parts = []
        is_code ^= is_fence
        if is_fence or is_code or not line.strip() or HEADING.match(line) or NOTE.match(line):
            continue
        if is_row and (RULE_OF_TABLE.match(line) or (number < len(lines) and RULE_OF_TABLE.match(lines[number]))):
            continue
        begun = begun if parts else number
        parts.append(line)


def _is_row(line: str) -> bool:
    return line.lstrip().startswith("|")


def _starts(line: str) -> bool:
    return any(form.match(line) for form in (HEADING, NOTE, ITEM))


def _claim(line: int, parts: list[str]) -> Claim:
    text = CODE.sub("", ITEM.sub("", " ".join(part.strip() for part in parts), count=1))
    return Claim(line, text, frozenset(NOTED.findall(text)))
