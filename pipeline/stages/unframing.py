"""What stages that read our three topics do where a schema registry is configured: wait for it, and read on."""

import asyncio
import logging
from typing import Any, Final

from pipeline.frontier import Element
from pipeline.schema_registry import SchemaRegistry
from pipeline.settings import Settings
from pipeline.stages.base import Stage
from pipeline.transport import StaleElementError
from schemas.errors import DependencyError

log = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 1.0


class Unframing:
    """One stage's."""

    def __init__(self, settings: Settings) -> None:
        password = settings.schema_registry_password.get_secret_value()
        url = settings.schema_registry_url
        self._registry = None if url is None else SchemaRegistry(url, settings.schema_registry_user, password)

    async def read(self, element: Element, stage: Stage[Any]) -> Element:
        """The element as if everything in it had our header. While the registry is down the stage waits and says so.

        Raises StaleElementError where the element's epoch or the stage ends meanwhile.
        """
        if self._registry is None:
            return element
        while True:
            try:
                found = await asyncio.to_thread(self._registry.read, element)
            except DependencyError as error:
                if not stage.waiting_on:
                    log.warning("%s waits: %s", stage.name, error)
                stage.waiting_on = str(error)
            else:
                if stage.waiting_on:
                    log.warning("%s goes on: the schema registry answers", stage.name)
                stage.waiting_on = ""
                return found
            await asyncio.sleep(PAUSE_SECONDS)
            if element.epoch != stage.consumer.epoch or stage.is_closing:
                stage.waiting_on = ""
                raise StaleElementError
