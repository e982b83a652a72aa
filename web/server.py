"""The routes of the live page. Reading goes to ClickHouse, in threads; what happens comes from the hub.

/                                 the page
/incidents/ID                     the page, at this incident: what a page's link says
/static/NAME                      its script and style
/api/overview                     open incidents, agents by what they use, pages of the day
/api/incidents/ID                 one incident, its timeline, its pages
/api/incidents/ID/prevention      what would have prevented it
/incidents/ID/postmortem          its postmortem, as a page of its own
/api/incidents/ID/lanes?from=&to= what its lanes show in a window (Unix milliseconds)
/api/controls                     POST: pause an agent, or let it go on
/api/agents/TENANT/AGENT          one agent
/api/stream                       server-sent events: revisions, actions, signals, as they happen
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import quote

import orjson
from aiohttp import web

from schemas.controls import Control
from schemas.errors import AftermathError, DependencyError, UsageError
from schemas.times import MINUTE
from sinks.clickhouse.client import Client
from sinks.clickhouse.errors import ClickHouseError
from web import lanes, reading
from web.access import HEADERS, guarded
from web.holding import asked
from web.hub import Hub

STATIC: Final = Path(__file__).parent / "static"
FILES: Final = {
    "app.js": "text/javascript",
    "lanes.js": "text/javascript",
    "style.css": "text/css",
    "icon.svg": "image/svg+xml",
}
# A postmortem is read alone: it carries its style, and nothing in it runs or is loaded.
DOCUMENT_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "sandbox",
    )
)
Found = TypeVar("Found")
BEAT_SECONDS: Final = 15.0  # so that proxies keep a quiet stream open


class Board(Protocol):
    """The controls in the log."""

    def known(self) -> Sequence[Control]:
        """The newest of each key. Raises DependencyError."""

    def give(self, controls: Sequence[Control]) -> None:
        """Write, and wait until Kafka has them. Raises DependencyError."""


class Page:
    """hosts: names the server goes by. connect: a reader's connection, asked for when somebody first looks, because a
    ClickHouse that is down must not keep a worker from starting; it and its queries block. now: microseconds.
    board: where controls are read and given; blocks too. budget: what an agent may use in a day; may block."""

    def __init__(
        self,
        connect: Callable[[], Client],
        hub: Hub,
        *,
        token: str,
        hosts: frozenset[str],
        now: Callable[[], int],
        board: Board,
        budget: reading.Budget,
    ) -> None:
        self._connect, self.hub, self._now, self._board, self._budget = connect, hub, now, board, budget
        self._client: Client | None = None
        self._turn = asyncio.Lock()  # one query at a time: a page must never slow the database of the pipeline down
        self.application = web.Application(middlewares=[guarded(token, hosts)])
        self.application.router.add_get("/", self._index)
        self.application.router.add_get("/incidents/{id}", self._link)
        self.application.router.add_get("/incidents/{id}/postmortem", self._postmortem)
        self.application.router.add_get("/static/{name}", self._static)
        self.application.router.add_get("/api/overview", self._overview)
        self.application.router.add_get("/api/incidents/{id}", self._incident)
        self.application.router.add_get("/api/incidents/{id}/lanes", self._lanes)
        self.application.router.add_get("/api/incidents/{id}/prevention", self._prevention)
        self.application.router.add_get("/api/agents/{tenant}/{agent}", self._agent)
        self.application.router.add_post("/api/controls", self._control)
        self.application.router.add_get("/api/stream", self._stream)

    async def _index(self, _: web.Request) -> web.Response:
        return web.Response(body=(STATIC / "index.html").read_bytes(), content_type="text/html", charset="utf-8")

    async def _link(self, request: web.Request) -> web.Response:
        return web.Response(status=303, headers={"Location": f"/#/incident/{quote(request.match_info['id'], safe='')}"})

    async def _static(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in FILES:
            raise web.HTTPNotFound(text="There is no such file.")
        return web.Response(body=(STATIC / name).read_bytes(), content_type=FILES[name], charset="utf-8")

    async def _overview(self, _: web.Request) -> web.Response:
        return await self._answer(
            lambda client: reading.overview(client, self._moment(client), self._now(), self._budget)
        )

    async def _control(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json":  # a form of another site cannot send that
            raise web.HTTPUnsupportedMediaType(text="Send application/json.")
        try:
            body = orjson.loads(await request.read())
        except ValueError:
            raise web.HTTPBadRequest(text="That is no JSON.") from None
        try:
            given = await asyncio.to_thread(self._give, body)
        except UsageError as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        except DependencyError as error:
            raise web.HTTPServiceUnavailable(text=str(error)) from None
        for control in given:
            line = f"{control.about}: {control.action} by {control.author}: {control.reason}"
            self.hub.publish({"type": "control", "line": line})
        return web.json_response({"given": len(given)})

    def _give(self, body: Any) -> list[Control]:
        given = asked(body, self._board.known(), self._now())
        self._board.give(given)
        return given

    async def _incident(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        return await self._answer(lambda client: reading.incident(client, name, self._now()))

    async def _lanes(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        try:
            begin, end = int(request.query["from"]), int(request.query["to"])
        except (KeyError, ValueError):
            raise web.HTTPBadRequest(text="Say from and to, in Unix milliseconds.") from None
        return await self._answer(lambda client: lanes.lanes(client, name, begin, end))

    async def _prevention(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        return await self._answer(lambda client: reading.prevention(client, name))

    async def _postmortem(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        html = await self._read(lambda client: reading.postmortem(client, name))
        headers = {"Content-Security-Policy": DOCUMENT_POLICY}
        return web.Response(text=html, content_type="text/html", charset="utf-8", headers=headers)

    async def _agent(self, request: web.Request) -> web.Response:
        tenant, name = request.match_info["tenant"], request.match_info["agent"]
        return await self._answer(lambda client: reading.agent(client, tenant, name, self._moment(client), self._now()))

    def _moment(self, client: Client) -> int:
        """Now, or where nothing was counted for long (a recording) the newest there is."""
        newest, now = reading.latest(client), self._now()
        return newest if newest and abs(now - newest) > reading.BURN_MINUTES * MINUTE else now

    async def _answer(self, read: Callable[[Client], dict[str, Any]]) -> web.Response:
        found = await self._read(read)
        return web.Response(body=orjson.dumps(found, default=str), content_type="application/json")

    async def _read(self, read: Callable[[Client], Found]) -> Found:
        """In a thread, when it is its turn. What goes wrong is an answer with what to do."""
        try:
            async with self._turn:
                return await asyncio.to_thread(self._asked, read)
        except UsageError as error:
            raise web.HTTPNotFound(text=str(error)) from None
        except ClickHouseError as error:
            raise web.HTTPServiceUnavailable(text=f"ClickHouse does not answer: {error}") from None
        except AftermathError as error:
            raise web.HTTPBadRequest(text=str(error)) from None

    def _asked(self, read: Callable[[Client], Found]) -> Found:
        if self._client is None:
            self._client = self._connect()
        return read(self._client)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        with suppress(ConnectionResetError):  # a reader that leaves is no fault; the next write finds it gone
            async with self.hub.reader() as events:
                await response.prepare(request)
                await response.write(b"retry: 2000\n\n")
                while True:
                    try:
                        async with asyncio.timeout(BEAT_SECONDS):
                            event = await events.get()
                    except TimeoutError:
                        await response.write(b": still here\n\n")
                    else:
                        await response.write(b"data: " + orjson.dumps(event) + b"\n\n")
        return response
