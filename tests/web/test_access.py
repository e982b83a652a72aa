"""Who may look: every route, with a wrong token, a wrong Host, from another page. A new route is walked by itself."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from pipeline.listening import Port
from tests.stages.conftest import until
from tests.web.serving import Board, budget
from web.access import HEADERS
from web.hub import AGAIN, MOST_WAITING, Hub
from web.server import Page

TOKEN = "canary-4711"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def nothing() -> Any:
    raise AssertionError("a refused request must not reach the database")


@pytest.fixture
async def port() -> AsyncIterator[tuple[Port, Page]]:
    page = Page(
        nothing, Hub(), token=TOKEN, hosts=frozenset({"127.0.0.1"}), now=lambda: 0, board=Board(), budget=budget
    )
    made = Port(page.application, "127.0.0.1", 0, "--web")
    await made.start()
    yield made, page
    await made.stop()


def routes(page: Page) -> list[tuple[str, str]]:
    found = {
        (route.method, str(route.resource and route.resource.canonical)) for route in page.application.router.routes()
    }
    assert len(found) >= 10
    return [
        (
            how,
            path.replace("{id}", "abc")
            .replace("{tenant}", "abc")
            .replace("{agent}", "abc")
            .replace("{name}", "app.js"),
        )
        for how, path in found
    ]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Cookie": "aftermath=wrong"}, 401),
        (BEARER | {"Host": "evil.example"}, 403),
        (BEARER | {"Host": "evil.example:80", "Origin": "http://evil.example:80"}, 403),
        (BEARER | {"Origin": "http://evil.example"}, 403),
        (BEARER | {"Origin": "null"}, 403),
    ],
)
async def test_every_route_refuses(port: tuple[Port, Page], headers: dict[str, str], status: int) -> None:
    made, page = port
    async with aiohttp.ClientSession() as session:
        for how, path in routes(page):
            for wrong in ("", "?token=wrong"):
                async with session.request(
                    how, made.url + path + wrong, headers=headers, allow_redirects=False
                ) as answer:
                    assert answer.status == status, path
                    assert TOKEN not in await answer.text()
                    assert answer.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]


async def test_the_link_is_exchanged_for_a_cookie_that_scripts_and_other_sites_do_not_get(
    port: tuple[Port, Page],
) -> None:
    made, _ = port
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        async with session.get(f"{made.url}/?token={TOKEN}", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/")
            cookie = answer.headers["Set-Cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
        async with session.get(f"{made.url}/") as answer:
            assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
            assert "http" not in (await answer.text()).replace("http-equiv", ""), "nothing is loaded from elsewhere"
        async with session.get(f"{made.url}/incidents/9c0e%2F5b", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/#/incident/9c0e%2F5b")
        async with session.get(f"{made.url}/static/..%2f__init__.py") as answer:
            assert answer.status == 404
        async with session.get(f"{made.url}/api/incidents/x/lanes?from=a&to=1") as answer:
            assert answer.status == 400


async def test_a_reader_that_is_slow_is_told_to_read_anew_and_holds_nobody_up() -> None:
    hub = Hub()
    async with hub.reader() as slow, hub.reader() as quick:
        for number in range(MOST_WAITING + 1):
            hub.publish({"type": "line", "line": str(number)})
            assert (await quick.get())["line"] == str(number)
        assert slow.get_nowait() == AGAIN
        hub.publish({"type": "line", "line": "more"})
        assert slow.get_nowait()["line"] == "more"
    hub.publish({"type": "line", "line": "to nobody"})


async def test_a_reader_that_leaves_is_let_go_and_is_no_fault(
    port: tuple[Port, Page], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("web.server.BEAT_SECONDS", 0.02)
    made, page = port
    async with aiohttp.ClientSession() as session, session.get(f"{made.url}/api/stream", headers=BEARER) as answer:
        assert await answer.content.readline() == b"retry: 2000\n"
        assert page.hub.readers == 1
    await until(lambda: not page.hub.readers)
    assert not [line for line in caplog.records if line.levelname == "ERROR"]


async def test_what_another_thread_tells_arrives() -> None:
    hub = Hub()
    async with hub.reader() as reader:
        await asyncio.to_thread(hub.publish_from_thread, [{"type": "line", "line": "a"}])
        assert (await reader.get())["line"] == "a"


PAUSE = {
    "action": "pause",
    "tenant": "acme",
    "agent_id": "seo-agent",
    "author": "kim",
    "reason": "it loops",
    "minutes": 10,
}


async def test_an_agent_is_paused_and_goes_on_by_hand(port: tuple[Port, Page]) -> None:
    made, _ = port
    async with aiohttp.ClientSession(headers=BEARER) as session:

        async def post(body: Any, **more: Any) -> tuple[int, str]:
            async with session.post(f"{made.url}/api/controls", **({"json": body} | more)) as answer:
                return answer.status, await answer.text()

        assert (await post(PAUSE | {"action": "resume"}))[0] == 400, "nothing holds it"
        assert await post(PAUSE) == (200, '{"given": 1}')
        assert await post(PAUSE | {"action": "resume", "reason": "fixed"}) == (200, '{"given": 1}')
        for wrong, says in (
            (PAUSE | {"agent_id": "*"}, "one agent"), (PAUSE | {"author": " "}, "author"), (PAUSE | {"minutes": 0}, "minutes"),
            (PAUSE | {"minutes": True}, "minutes"), (PAUSE | {"reason": "x" * 501}, "reason"), (PAUSE | {"action": "halt"}, "action"),
            ([], "object"), (PAUSE | {"tenant": ["acme"]}, "tenant"),
        ):  # fmt: skip
            status, text = await post(wrong)
            assert (status, says in text) == (400, True), text
        assert (await post(None, json=None, data="a=b"))[0] == 415
