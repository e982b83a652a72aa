"""A detect stage that remembers where it began to read, and what it failed with."""

from collections.abc import Awaitable, Callable

from pipeline.core.limits import Limits
from pipeline.core.panes import TimeRules
from pipeline.frontier import Element
from pipeline.settings import Settings
from pipeline.stages.base import StageError
from pipeline.stages.detect import Detect
from tests.builders import T0


class Detecting(Detect):
    """began: the first offset of each element of partition 0."""

    def __init__(self, settings: Settings, now: Callable[[], int] = lambda: T0) -> None:
        self.errors: list[StageError] = []
        self.began: list[int] = []
        super().__init__(settings, self.errors.append, limits=Limits(), rules=TimeRules(), now=now)

    async def take(self, element: Element) -> Awaitable[None]:
        if element.partition == 0:
            self.began.append(element.records[0].offset)
        return await super().take(element)
