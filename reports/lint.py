"""What a postmortem may not say: amounts of money, words that sell, blame of a vendor or a person, unsourced figures.

The list is a YAML file; `aftermath lint --words FILE` takes another. It works on documents people wrote, too. What
agents and services wrote may hold such words: our own documents show a mark in their place, so that they always pass.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from reports.claims import claims, defined_notes
from schemas.errors import UsageError

SHIPPED = Path(__file__).with_name("lint.yml")
LEFT_OUT = "[left out]"
SHOWN = 80  # characters of a claim
KEYS = {"id", "pattern", "why"}
MORE_KEYS = {"unless"}
MARKDOWN = (".md", ".markdown", ".txt")


@dataclass(frozen=True, slots=True)
class Rule:
    """What is looked for, and what to say where it is found.

    unless: what must stand beside it. Such a rule is about a whole claim (a paragraph, an item, a row), not a line.
    """

    name: str
    pattern: re.Pattern[str]
    why: str
    unless: re.Pattern[str] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to change, with its line, counted from 1."""

    line: int
    says: str


def load_rules(path: Path = SHIPPED) -> tuple[Rule, ...]:
    """The rules of a file. Raises UsageError where it is not a list of id, pattern, why and perhaps unless."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(found, list):
        raise UsageError(f"{path} must be a list of rules, each with {', '.join(sorted(KEYS))}.")
    return tuple(_rule(path, number, item) for number, item in enumerate(found, 1))


def _rule(path: Path, number: int, item: object) -> Rule:
    if (
        not isinstance(item, dict)
        or set(item) - MORE_KEYS != KEYS
        or not all(isinstance(value, str) for value in item.values())
    ):
        raise UsageError(
            f"{path}: rule {number} must have the texts {', '.join(sorted(KEYS))}, may have unless, and no others."
        )
    try:
        pattern, *unless = (re.compile(item[key], re.IGNORECASE) for key in ("pattern", "unless") if key in item)
    except re.error as error:
        raise UsageError(f"{path}: a pattern of {item['id'][:40]!r} is not a regular expression: {error}") from error
    return Rule(item["id"], pattern, item["why"], unless[0] if unless else None)


def lint(text: str, rules: Sequence[Rule], *, is_markdown: bool = False) -> list[Finding]:
    """Every place that breaks a rule, in order. Claims are looked for in Markdown; our HTML and JSON are verified."""
    findings = [
        Finding(number, f"{rule.name}: {match[0].strip()!r}: {rule.why}")
        for number, line in enumerate(text.splitlines(), 1)
        for rule in rules
        if rule.unless is None
        for match in rule.pattern.finditer(line)
    ]
    if is_markdown:
        findings += _lint_claims(text, [(rule, rule.unless) for rule in rules if rule.unless is not None])
    return sorted(findings, key=lambda finding: finding.line)


def _lint_claims(text: str, rules: Sequence[tuple[Rule, re.Pattern[str]]]) -> Iterator[Finding]:
    if not rules:
        return
    notes = defined_notes(text)
    for claim in claims(text):
        for rule, unless in rules:
            if rule.pattern.search(claim.text) and not unless.search(claim.text):
                yield Finding(claim.line, f"{rule.name}: {claim.text[:SHOWN]!r}: {rule.why}")
        for name in sorted(claim.notes - notes):
            yield Finding(claim.line, f"note: [^{name}] is nowhere in the document: say what shows it")


_RULES = tuple(rule for rule in load_rules() if rule.unless is None)


def leave_out(text: str) -> str:
    """The text with a mark in place of whatever breaks a shipped rule."""
    for rule in _RULES:
        text = rule.pattern.sub(LEFT_OUT, text)
    return text
