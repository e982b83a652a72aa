"""Rows made from columns are those that are made one by one."""

from dataclasses import fields

import pytest

from schemas.signals import Action, from_columns

NAMES = [field.name for field in fields(Action)]
COLUMNS = {name: [f"{name} {number}" for number in range(3)] for name in NAMES}


def test_rows_from_columns_are_those_made_one_by_one() -> None:
    one_by_one = [Action(**dict(zip(NAMES, values, strict=True))) for values in zip(*COLUMNS.values(), strict=True)]
    assert from_columns(Action, COLUMNS, 3) == one_by_one
    assert from_columns(Action, {name: [] for name in NAMES}, 0) == []


def test_a_column_that_is_not_there_or_too_short_is_refused() -> None:
    with pytest.raises(KeyError, match="tenant"):
        from_columns(Action, {name: COLUMNS[name] for name in NAMES[1:]}, 3)
    with pytest.raises(ValueError, match="shorter"):
        from_columns(Action, COLUMNS | {"tenant": ["a"]}, 3)
