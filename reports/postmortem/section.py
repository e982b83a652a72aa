"""A section of a postmortem: its title, its templates, and the plan that says what is asked of one case."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from reports.postmortem.case import Case
from reports.postmortem.model import Ask, Template


@dataclass(frozen=True, slots=True)
class Section:
    """columns: the head of its table; none: sentences. A plan that yields nothing leaves the section out."""

    title: str
    columns: tuple[str, ...]
    templates: tuple[Template, ...]
    plan: Callable[[Case], Iterable[Ask]]
