"""The sections, in the order of the week."""

from reports.postmortem.section import Section
from reports.roundup.sections import drift, metrics, security
from reports.roundup.week import Week

SECTIONS: tuple[Section[Week], ...] = (*metrics.SECTIONS, *drift.SECTIONS, *security.SECTIONS)
