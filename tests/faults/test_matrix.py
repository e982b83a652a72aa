"""The table of README.md and the tests agree: every row stands there once, with the files whose tests hold it."""

import ast
import re
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).parents[1]
TABLE = TESTS / "faults/README.md"
ROWS = [f"F{number:02d}" for number in range(1, 51)]


def table() -> dict[str, str]:
    """Row -> what its last cell says."""
    found: dict[str, str] = {}
    for line in TABLE.read_text().splitlines():
        if match := re.fullmatch(r"\| (F\d\d) \| .+ \| .+ \| (.+) \|", line):
            assert match[1] not in found, f"{match[1]} stands in the table twice"
            found[match[1]] = match[2]
    return found


def marked() -> dict[str, set[str]]:
    """Row -> the files with a test that is marked with it."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in TESTS.rglob("test_*.py"):
        text = path.read_text()
        if "mark.fault(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
                for row in node.args:
                    assert isinstance(row, ast.Constant)
                    found[row.value].add(str(path.relative_to(TESTS)))
    return found


def test_every_row_is_in_the_table_once_and_in_order() -> None:
    assert list(table()) == ROWS


def test_the_table_names_the_files_that_hold_a_row_and_no_other() -> None:
    named = {row: set(re.findall(r"`([\w/]+\.py)`", cell)) for row, cell in table().items()}
    found = marked()
    assert {row: files for row, files in named.items() if files} == dict(found)


def test_a_row_without_a_test_says_why() -> None:
    for row, cell in table().items():
        assert "`" in cell or re.match(r"(not built|not here): .{20,}", cell), f"{row}: {cell}"
