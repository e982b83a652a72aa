"""The sections, in the order they are read. Each is a file: templates, and the plan that asks them."""

from reports.postmortem.case import Case
from reports.postmortem.section import Section
from reports.postmortem.sections import (
    cause,
    figures,
    follow_ups,
    governance,
    knowledge,
    lineage,
    overview,
    prevention,
    response,
    timeline,
    waste,
)

SECTIONS: tuple[Section[Case], ...] = (
    overview.SECTION,
    figures.SECTION,
    timeline.SECTION,
    cause.SECTION,
    knowledge.SECTION,
    governance.SECTION,
    governance.TABLE,
    waste.SECTION,
    response.SECTION,
    prevention.SECTION,
    follow_ups.SECTION,
    lineage.SECTION,
)
