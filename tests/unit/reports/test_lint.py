from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli import main
from reports.lint import LEFT_OUT, leave_out, lint, load_rules
from reports.postmortem.formats.as_markdown import escaped

RULES = load_rules()


@pytest.mark.parametrize(
    "text",
    [
        "it cost $40",
        "12 EUR a day",
        "a seamless roll-out",
        "Agentic by design",
        "OpenAI's fault",
        "human error",
        "1,200 dollars",
    ],
)
def test_what_a_postmortem_must_not_say_is_found_and_left_out(text: str) -> None:
    assert len(lint(f"fine\n{text}", RULES)) == 1
    assert lint(f"fine\n{text}", RULES)[0].line == 2
    assert LEFT_OUT in leave_out(text)
    assert lint(leave_out(text), RULES) == []


@pytest.mark.parametrize("text", ["$HOME is empty", "the agents", "5 rounds of 40 calls", "error of the node"])
def test_plain_words_pass(text: str) -> None:
    assert lint(text, RULES) == []


def test_the_command_says_file_and_line_and_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Review\n\nIt cost $40.\n")
    assert main(["lint", str(page)]) == 1
    assert capsys.readouterr().out.startswith(f"{page}:3: money: '$4'")
    page.write_text("# Review\n\nIt took 40 calls.\n")
    assert main(["lint", str(page)]) == 0


def test_a_list_of_words_of_ones_own_is_used_and_a_wrong_one_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, words = tmp_path / "page.md", tmp_path / "words.yml"
    page.write_text("a hiccup\n")
    words.write_text("- {id: small, pattern: hiccup, why: say what failed}\n")
    assert main(["lint", "--words", str(words), str(page)]) == 1
    words.write_text("- {id: small, pattern: '(', why: say what failed}\n")
    assert main(["lint", "--words", str(words), str(page)]) == 2
    assert "regular expression" in capsys.readouterr().err


@given(st.text(alphabet=st.sampled_from("ab_*`[]<>|#~&!\\-+=1.:/w ")))
def test_escaped_text_has_no_mark_of_markdown_left(text: str) -> None:
    found = escaped(text)
    bare = found.replace("\\\\", "")
    for mark in "`*[]<>|#~&!":
        assert all(bare[place - 1 : place] == "\\" for place, character in enumerate(bare) if character == mark)
