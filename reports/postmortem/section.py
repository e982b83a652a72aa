"""A section of a document: its title, its templates, and the plan that says what is asked of one subject.

The subject of a postmortem is a case, that of a roundup a week.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from reports.postmortem.model import Ask, Chapter, Reader, Template, state

Subject = TypeVar("Subject")


@dataclass(frozen=True, slots=True)
class Section(Generic[Subject]):
    """columns: the head of its table; none: sentences. A plan that yields nothing leaves the section out."""

    title: str
    columns: tuple[str, ...]
    templates: tuple[Template, ...]
    plan: Callable[[Subject], Iterable[Ask]]

    def written(self, reader: Reader, subject: Subject) -> Chapter:
        """Ask what the plan says."""
        return Chapter(self.title, self.columns, tuple(state(reader, ask) for ask in self.plan(subject)))
