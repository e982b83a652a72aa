"""One web application on one address, in the worker's own event loop."""

from typing import Final

from aiohttp import web

from schemas.errors import ConfigurationError

CLOSE_SECONDS: Final = 2.0  # for answers under way; a stream that never ends must not hold up the end of a worker


class Port:
    """Listens from `start` to `stop`. setting: what names another port, for the error."""

    def __init__(self, application: web.Application, host: str, port: int, setting: str) -> None:
        self._application, self._host, self._port, self._setting = application, host, port, setting
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens; after `start`, because 0 asks for any free port."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def start(self) -> None:
        """Raises ConfigurationError where it cannot listen there."""
        self._runner = web.AppRunner(self._application, access_log=None, shutdown_timeout=CLOSE_SECONDS)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self.stop()
            raise ConfigurationError(
                f"Cannot listen on {self._host}:{self._port} ({error.strerror}); name a free port with {self._setting}."
            ) from None
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Safe to call twice."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
