"""Matchers: `severity="critical"`, `kind!=feedback_loop`, `scope=~"prod-.*"`, `owner!~"a|b"`.

As in Alertmanager: a label that is absent is the empty text, a regular expression must match the whole value. It is
RE2's, as there: what an agent writes into a label can never make one run long.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

Operator = Literal["=", "!=", "=~", "!~"]
Labels = Mapping[str, str]
TEXT = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*"|[^\s{}!=~,\\"\'`]*)\s*', re.DOTALL)
LONGEST = 1_000
MOST_ANSWERS = 10_000  # kept of each expression


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label. Made by `parse_matcher`."""

    name: str
    operator: Operator
    value: str
    _answers: dict[str, bool] = field(default_factory=dict, compare=False, repr=False)

    def matches(self, labels: Labels) -> bool:
        """Whether it holds."""
        found = labels.get(self.name, "")
        if self.operator in ("=", "!="):
            return (found == self.value) is (self.operator == "=")
        if found not in self._answers:
            if len(self._answers) >= MOST_ANSWERS:
                self._answers.clear()
            self._answers[found] = _full_match(self.value, found)
        return self._answers[found] is (self.operator == "=~")

    def __str__(self) -> str:
        return f"{self.name}{self.operator}{json.dumps(self.value, ensure_ascii=False)}"


def parse_matcher(text: str) -> Matcher:
    """Raises ValueError that says what is wrong."""
    found = TEXT.fullmatch(text[: LONGEST + 1])
    if len(text) > LONGEST or found is None:
        raise ValueError(f'{text[:60]!r} is no matcher; write name="value", with one of = != =~ !~')
    name, operator, value = found[1], found[2], found[3]
    if value.startswith('"'):
        value = re.sub(r"\\(.)", lambda sign: "\n" if sign[1] == "n" else _unescaped(sign[1]), value[1:-1])
    if operator in ("=~", "!~"):
        try:
            _full_match(value, "")
        except ValueError as error:
            raise ValueError(f"{text[:60]!r}: {error}") from None
    return Matcher(name, operator, value)  # type: ignore[arg-type]  # one of the four, by the expression


def all_match(matchers: Iterable[Matcher], labels: Labels) -> bool:
    """Whether every one holds; none at all hold for everything."""
    return all(matcher.matches(labels) for matcher in matchers)


def _unescaped(sign: str) -> str:
    return sign if sign in '"\\' else f"\\{sign}"  # any other pair stays as it is: "\d" is for the expression


def _full_match(pattern: str, value: str) -> bool:
    compute: Any = pc
    try:
        found = compute.match_substring_regex(pa.scalar(value), f"^(?:{pattern})$")
    except pa.ArrowInvalid as error:
        raise ValueError(f"not a regular expression (RE2): {str(error).split(': ')[-1][:80]}") from None
    return bool(found.as_py())
