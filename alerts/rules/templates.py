"""Text for people, filled from the numbers of the incident: `{agent_id} broke {scope}`.

Not `str.format`: that would let a template walk attributes and indices. Only the names of `fields.FIELDS` can
stand in the braces; anything else is a fault when the rule is loaded, so filling in cannot fail in the night.
Values are put in as they are and never read as a template again. `{{` and `}}` stand for braces.
"""

from collections.abc import Iterator
from string import Formatter
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from alerts.rules.fields import FieldType, field
from schemas.incidents import Incident

TEMPLATE_LENGTH = 2_000


def _parts(template: str) -> Iterator[tuple[str, FieldType | None]]:
    for literal, name, spec, conversion in Formatter().parse(template):
        if name is None:
            yield literal, None
            continue
        if spec or conversion:
            raise ValueError(f"write {{{name[:60]}}} alone: formats and conversions are not supported")
        yield literal, field(name)


def check(template: str) -> str:
    """The template itself. Raises ValueError where it names a field that an incident does not have."""
    for _ in _parts(template):
        pass
    return template


def render(template: str, incident: Incident) -> str:
    """The text of a template that was checked, for this incident."""
    return "".join(literal + (found.text_of(incident) if found else "") for literal, found in _parts(template))


Template = Annotated[str, StringConstraints(min_length=1, max_length=TEMPLATE_LENGTH), AfterValidator(check)]
