"""Markdown, HTML and JSON, in the form of the postmortem: every sentence with its source."""

import json
from collections.abc import Callable, Mapping

from reports.postmortem.formats import as_html, as_json, as_markdown
from reports.roundup.build import Roundup
from reports.roundup.week import WEEKS_BEFORE

TITLE = "Weekly roundup"


def _about(roundup: Roundup) -> str:
    since = f"seven days from Monday {roundup.start[:10]} 00:00 UTC"
    return f"Week {roundup.week}, {since}, against the {WEEKS_BEFORE} weeks before."


def markdown(roundup: Roundup) -> str:
    """One page."""
    head = f"{_about(roundup)} Catalogue {roundup.catalogue}."
    given = "Every query has the parameters `start` and `end`, the week, and `before`, from when on it is compared."
    return as_markdown.page(TITLE, head, given, roundup.chapters, roundup.queries)


def html(roundup: Roundup) -> str:
    """One page."""
    data = f'data-week="{roundup.week}" data-catalogue="{roundup.catalogue}"'
    return as_html.page(TITLE, roundup.week, data, _about(roundup), roundup.chapters, roundup.queries)


def as_object(roundup: Roundup) -> str:
    """One JSON object."""
    head = f'"week": {json.dumps(roundup.week)}, "catalogue": {json.dumps(roundup.catalogue)},'
    return as_json.page(head, roundup.chapters, roundup.queries)


FORMATS: Mapping[str, Callable[[Roundup], str]] = {"md": markdown, "html": html, "json": as_object}
