"""Markdown, HTML and JSON. In each a statement is one line of the file, so that a finding has a line.

To verify is to render again and to compare lines: a format only has to say which statement a line claims to be.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reports.postmortem.formats import as_html, as_json, as_markdown
from reports.postmortem.model import Document


@dataclass(frozen=True, slots=True)
class Format:
    """claims: by line, counted from 0, the template a line of a file names as its source. head: what to build again."""

    render: Callable[[Document], str]
    claims: Callable[[list[str]], Mapping[int, str]]
    head: re.Pattern[str]


FORMATS: Mapping[str, Format] = {
    "md": Format(as_markdown.render, as_markdown.claims, as_markdown.HEAD),
    "html": Format(as_html.render, as_html.claims, as_html.HEAD),
    "json": Format(as_json.render, as_json.claims, as_json.HEAD),
}
