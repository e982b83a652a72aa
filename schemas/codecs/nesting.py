"""How deep JSON text is nested, without parsing it.

Parsers recurse: text of a few hundred kilobytes of `[` ends one in a RecursionError or worse, wherever it is first
parsed. So depth is judged before any parser sees the text, and whether the text is valid JSON at all does not matter.
"""

import re

import polars as pl

DEEPEST = 32

# a string, closed or not. The possessive loop cannot give back what it took: linear on hostile text
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


def is_too_deep(text: str) -> bool:
    """Whether objects and lists stand more than 32 deep in each other."""
    if text.count("[") + text.count("{") <= DEEPEST:
        return False
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > DEEPEST:
            return True
    return False


def bracket_count(text: pl.Expr) -> pl.Expr:
    """Opening brackets, in strings or not: at most 32 of them can't be too deep."""
    return text.str.count_matches(r"[\[{]")


def too_deep_rows(column: pl.Series) -> list[int]:
    """The rows of a text column that are too deep: brackets are counted on the column, the few suspects walked."""
    counts = column.to_frame().select(bracket_count(pl.first())).to_series()
    return [row for row in (counts > DEEPEST).fill_null(False).arg_true() if is_too_deep(column[row])]
