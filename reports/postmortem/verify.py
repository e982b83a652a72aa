"""Verify a postmortem: run every query of our own catalogue again, render again, and compare line by line.

The SQL that stands in the file is never run; where it differs from the catalogue's, that is a finding.
"""

import re
from collections.abc import Mapping
from difflib import SequenceMatcher

from reports.lint import Finding
from reports.postmortem.build import CATALOGUE, build
from reports.postmortem.formats import FORMATS, Format
from reports.postmortem.model import Reader
from schemas.errors import UsageError

SHOWN = 160  # characters of a line


def verify(reader: Reader, text: str) -> list[Finding]:
    """What is wrong with the file, in order of its lines. Raises UsageError where it is no postmortem of ours."""
    form, head = _form(text)
    document = build(reader, head["incident_id"], int(head["revision"]))
    findings = []
    if head["catalogue"] != CATALOGUE:
        line = text[: head.start()].count("\n") + 1
        findings.append(
            Finding(line, f"made with another catalogue ({head['catalogue']}, here {CATALOGUE}): make it anew")
        )
    return findings + _compare(form, text.splitlines(), form.render(document).splitlines())


def _form(text: str) -> tuple[Format, re.Match[str]]:
    for form in FORMATS.values():
        head = form.head.search(text)
        if head is not None and head["catalogue"]:
            return form, head
    raise UsageError("This file is no postmortem: its head, with incident and revision, is missing or was changed.")


def _compare(form: Format, written: list[str], expected: list[str]) -> list[Finding]:
    claimed, known = form.claims(written), form.claims(expected)
    findings = []
    for what, a, b, c, d in SequenceMatcher(None, written, expected, autojunk=False).get_opcodes():
        if what == "equal":
            continue
        findings += _block(written, expected, claimed, known, range(a, b), range(c, d))
    return findings


def _block(
    written: list[str],
    expected: list[str],
    claimed: Mapping[int, str],
    known: Mapping[int, str],
    ours: range,
    theirs: range,
) -> list[Finding]:
    """A stretch where the file says something else. A line is paired with the next expected one of its template."""
    open_ = list(theirs)
    findings = []
    for place in ours:
        line = written[place]
        if not line.strip():
            continue
        name = claimed.get(place)
        if name is None:
            pair = next((i for i in open_ if i not in known and _is_like(expected[i], line)), None)
            says = (
                "a line that no template wrote (a sentence without a source)"
                if pair is None
                else "differs from what is rendered"
            )
            findings.append(Finding(place + 1, f"{says}: {_shown(line)}" + _instead(expected, pair)))
        else:
            pair = next((i for i in open_ if known.get(i) == name), None)
            says = f"{name} gives no such sentence" if pair is None else f"{name} gives another text"
            findings.append(Finding(place + 1, f"{says}: {_shown(line)}" + _instead(expected, pair)))
        if pair is not None:
            open_.remove(pair)
    at = ours.start + 1
    findings += [Finding(at, f"missing: {_shown(expected[place])}") for place in open_ if expected[place].strip()]
    return findings


def _is_like(one: str, other: str) -> bool:
    return SequenceMatcher(None, one, other, autojunk=False).quick_ratio() > 0.6


def _instead(expected: list[str], place: int | None) -> str:
    return "" if place is None else f" — instead of: {_shown(expected[place])}"


def _shown(line: str) -> str:
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}…"
