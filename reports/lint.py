"""What a postmortem may not say: amounts of money, words that sell, blame of a vendor or a person.

The list is a YAML file; `aftermath lint --words FILE` takes another. It works on documents people wrote, too. What
agents and services wrote may hold such words: our own documents show a mark in their place, so that they always pass.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from schemas.errors import UsageError

SHIPPED = Path(__file__).with_name("lint.yml")
LEFT_OUT = "[left out]"
KEYS = {"id", "pattern", "why"}


@dataclass(frozen=True, slots=True)
class Rule:
    """What is looked for, and what to say where it is found."""

    name: str
    pattern: re.Pattern[str]
    why: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to change, with its line, counted from 1."""

    line: int
    says: str


def load_rules(path: Path = SHIPPED) -> tuple[Rule, ...]:
    """The rules of a file. Raises UsageError where it is not a list of id, pattern and why."""
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
    if not isinstance(item, dict) or set(item) != KEYS or not all(isinstance(value, str) for value in item.values()):
        raise UsageError(f"{path}: rule {number} must have the texts {', '.join(sorted(KEYS))}, and no others.")
    try:
        return Rule(item["id"], re.compile(item["pattern"], re.IGNORECASE), item["why"])
    except re.error as error:
        raise UsageError(f"{path}: the pattern of {item['id'][:40]!r} is not a regular expression: {error}") from error


def lint(text: str, rules: Sequence[Rule]) -> list[Finding]:
    """Every place that breaks a rule, in order."""
    return [
        Finding(number, f"{rule.name}: {match[0].strip()!r}: {rule.why}")
        for number, line in enumerate(text.splitlines(), 1)
        for rule in rules
        for match in rule.pattern.finditer(line)
    ]


_RULES = load_rules()


def leave_out(text: str) -> str:
    """The text with a mark in place of whatever breaks a shipped rule."""
    for rule in _RULES:
        text = rule.pattern.sub(LEFT_OUT, text)
    return text
