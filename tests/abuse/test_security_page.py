"""SECURITY.md names what there is: topics, settings, files, every row of the matrix, and each test it promises."""

import re
from pathlib import Path

import pytest

from pipeline.settings import Settings
from schemas.topics import ALL, DEAD_LETTERS, INPUTS, MAX_MESSAGE_BYTES, OTLP

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text()
ROWS = 28
PARTS = {  # a row may be called not applicable only while the folder or file of its part is missing
    "CSV exports": "sinks/csv.py",
}


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def test_the_topics_are_all_named_on_their_side() -> None:
    untrusted, trusted = section("What is not trusted"), section("What is trusted")
    for topic in ALL:
        assert f"`{topic.name}`" in (untrusted if topic.is_input or topic in OTLP else trusted), topic.name
    named = set(re.findall(r"`([a-z_]+(?:\.[a-z_]+)*\.v\d+)`", PAGE))
    assert named == {topic.name for topic in ALL if topic not in OTLP}
    assert len(INPUTS) == 3


def test_every_setting_it_names_is_one() -> None:
    named = set(re.findall(r"`AFTERMATH_([A-Z_]+)`", PAGE))
    assert named
    for name in named:
        assert name.split("__")[0].lower() in Settings.model_fields, name


def test_the_numbers_are_those_of_the_code() -> None:
    assert f"`message.max.bytes` to {MAX_MESSAGE_BYTES}" in PAGE
    assert DEAD_LETTERS.retention_ms == 3 * 24 * 3600 * 1000
    assert "for three days" in PAGE


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|yml|xml))`", PAGE))))
def test_every_file_it_names_is_there(path: str) -> None:
    assert (ROOT / path).is_file()


def test_every_row_of_the_matrix_is_held_or_said_to_be_not_applicable() -> None:
    rows = {int(number) for number in re.findall(r"\bA(\d\d)\b", section("The abuse matrix"))}
    assert rows == set(range(1, ROWS + 1))


@pytest.mark.parametrize("part", PARTS)
def test_what_is_not_applicable_yet_is_not_there(part: str) -> None:
    assert part in PAGE.split("Not applicable yet")[1]
    assert not (ROOT / PARTS[part]).exists(), f"{part} is there now: write its row of the abuse matrix"


def test_every_suite_of_the_folder_is_named() -> None:
    suites = {path.name for path in (ROOT / "tests" / "abuse").glob("test_*.py")}
    assert {name for name in suites if f"tests/abuse/{name}" in PAGE} == suites
