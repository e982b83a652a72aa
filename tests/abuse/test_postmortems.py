"""A12: names and texts of agents in a postmortem are text, in HTML, in its pictures and in Markdown."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from reports.postmortem.charts import draw_lanes, draw_tokens
from reports.postmortem.formats import as_html, as_markdown
from reports.postmortem.model import Ask, Chapter, Document, Row, Template, state
from tests.abuse import payloads

AT = datetime(2026, 3, 2, 14, tzinfo=UTC)
MARKUP = {
    "script": "<script>hit()</script>",
    "end of an attribute": "'\"><img src=x onerror=hit()>",
    "end of a picture": "</title></svg><svg/onload=hit()>",
    "end of a table": "</td></table><iframe srcdoc='<script>hit()</script>'>",
    "address": "<a href='javascript:hit()'>x</a> [x](javascript:hit())",
    "style": "</style><style>@import'//evil.example/x'</style>",
    "comment": "--><!--<base href=//evil.example>",
    "entity": "&lt;script&gt;hit()&lt;/script&gt; &#60;img src=x onerror=hit()&#62;",
    "markdown": "![x](https://evil.example/x.png)\n# heading\n| a | b |\n```\n[^1]: `forged`",
}
TEXTS = payloads.texts() | MARKUP
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "h3", "p", "ul", "li", "table", "thead"),
    *("tbody", "tr", "th", "td", "details", "summary", "code", "pre", "figure", "figcaption"),
    *("svg", "g", "rect", "line", "circle", "text"),
}


class OneRow:
    """A database in which everything is the text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def query(self, sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        items = [
            {"type": kind, "event_time": "2026-03-02T14:00:00Z", "shows": self._text} for kind in ("fact", "action")
        ]
        return [
            {
                "refs": (self._text,), "text": self._text, "agent_id": self._text, "items": items, "before": 3,
                "points": [AT], "series": [5], "started": AT, "ended": AT, "detected": AT,
            }
        ]  # fmt: skip


def document(text: str) -> Document:
    def said(row: Row) -> tuple[str, ...]:
        return (row["text"], row["text"])

    def of(name: str, **more: Any) -> Any:
        template = Template(name, "SELECT 1", ("{session}",), said, lambda _: ("", ""), **more)
        return state(OneRow(text), Ask(template, {"session": text, "incident_id": "ab"}))

    return Document(
        incident_id="ab",
        revision=1,
        catalogue="c0",
        chapters=(
            Chapter("Sentences", (), (of("one"),)),
            Chapter("Table", ("first", "second"), (of("two"),)),
            Chapter("Pictures", (), (of("three", draw=draw_lanes), of("four", draw=draw_tokens))),
        ),
        queries=(("one", "SELECT 1"),),
    )


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.comments = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_comment(self, data: str) -> None:
        self.comments += 1


@pytest.mark.parametrize("name", TEXTS)
def test_in_html_text_makes_no_element_no_attribute_and_no_comment(name: str) -> None:
    page, usual = Page(), Page()
    page.feed(as_html.render(document(TEXTS[name])))
    usual.feed(as_html.render(document("neutral")))
    assert page.tags == usual.tags <= TAGS
    assert page.attributes == usual.attributes
    assert not any(
        attribute.startswith("on") or attribute in ("href", "src", "srcdoc") for attribute in usual.attributes
    )
    assert page.comments == 0


@pytest.mark.parametrize("name", TEXTS)
def test_in_markdown_text_makes_no_heading_link_picture_or_row(name: str) -> None:
    def shape(text: str) -> list[str]:
        """The first characters of each line, and every unescaped mark in it."""
        lines = as_markdown.render(document(text)).split("\n")
        return [re.sub(r"\\.|`[^`]*`|[^\[\]<>|#!]", "", line) for line in lines]

    assert shape(TEXTS[name]) == shape("neutral")
