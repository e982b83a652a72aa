from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli import main
from reports.claims import claims
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
    assert main(["lint", str(page)]) == 1
    assert capsys.readouterr().out.startswith(f"{page}:3: claim without a reference: 'It took 40 calls.'")
    page.write_text("# Review\n\nIt took 40 calls.[^1]\n\n[^1]: session run-812\n")
    assert main(["lint", str(page)]) == 0


WRITTEN = """# Outage of cart

Written on 2026-03-03 by the on-call of week 10.

## What happened

The cart was down.
It came back after 8 minutes.

- 24 pods were asked for, see [the change](https://git.example/c/1).
- Of these 6 ran,
  as the list of 14:09 shows.[^pods]
1. First we waited.
2. Then 3 of us looked.

| When | What |
|---|---|
| 14:12 | first alarm [^alarm] |
| 14:20 | over |
After it 2 tickets.

```sql
SELECT 42
```

The flag `max_pods_24` was on.[^gone]

[^pods]: event 7
[^alarm]: notification 12
"""


def test_each_claim_with_a_figure_and_no_reference_is_found_where_it_begins() -> None:
    assert [(found.line, found.says.split(":")[0]) for found in lint(WRITTEN, RULES, is_markdown=True)] == [
        (7, "claim without a reference"),  # the paragraph of line 8
        (14, "claim without a reference"),
        (19, "claim without a reference"),
        (20, "claim without a reference"),
        (26, "note"),
    ]
    assert lint(WRITTEN, RULES) == []  # HTML and JSON are read line by line only


def test_the_rule_about_claims_can_be_left_out_of_a_list_of_ones_own(tmp_path: Path) -> None:
    words = tmp_path / "words.yml"
    words.write_text("- {id: small, pattern: hiccup, why: say what failed}\n")
    assert lint(WRITTEN, load_rules(words), is_markdown=True) == []


@given(
    st.lists(st.sampled_from(["a 1", "- b 2", "| 3 |", "", "```", "## c", "[^n]: d", "e[^n] 4", "1. f"]), max_size=12)
)
def test_whatever_the_document_no_line_is_claimed_twice(lines: list[str]) -> None:
    found = list(claims("\n".join(lines)))
    assert [claim.line for claim in found] == sorted({claim.line for claim in found})
    shown = sum(line != "" for line in lines)
    assert len(found) <= shown


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
