"""The live page in Chromium, on what the whole pipeline made of the demo's story: read, live, hostile, large."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from pipeline.demo.recording import recording_of
from pipeline.demo.story import story
from pipeline.embedded import Database
from reports.postmortem.build import build
from reports.postmortem.formats import FORMATS
from schemas.incidents import Incident, Transition
from schemas.times import MINUTE
from sinks.clickhouse import incidents as stored
from sinks.clickhouse.client import Client
from sinks.clickhouse.rows import incident_frame, timeline_frame
from tests.abuse.running import run
from tests.web.serving import TOKEN, Served, served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.embedded,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None and "CI" not in os.environ, reason="no Chromium; apt-get install chromium"),
]
PICTURES = Path(os.environ["PICTURES"]) if "PICTURES" in os.environ else None
PAYLOADS = [
    form.format(f"window.hit={number}")
    for number in range(10)
    for form in (
        "<script>{}</script>",
        "<img src=x onerror={}>",
        "<svg/onload={}>",
        "'\"><iframe srcdoc='<script>parent.{}</script>'>",
        "javascript:{}",
        "<a href='javascript:{}'>x</a>",
        "${{{}}}{{{{{}}}}}",
        "</td></table><body onload={}>",
        "<style>@import'//evil.example/{}'</style>",
        "\u202e\u0000<math><mtext></mtext><mglyph><style><img src onerror={}>",
    )
    for form in (form.replace("{{{}}}{{{{{}}}}}", "{{{}}}"),)
]
CALLS = 100_000
DAY = 24 * 60 * MINUTE
AT_ONCE_MS = 150  # of CPU; what a person calls at once is 100, and here others share the caches
LIVE_MS, TRIES = 2_000, 5  # on a machine where others are at work too, the best of some tries
MANY_ROWS = (
    "INSERT INTO agent_traces (event_time, start_time, tenant, span_id, session_id, agent_id, operation, status, input_tokens, offset)"
    " SELECT {at}, at, '{tenant}', toString(number), '{session}', 'seo-agent', 'chat', if(number % 50 = 0, 'error', 'ok'), 1000,"
    " 10000000 + number FROM numbers({calls})",
    "INSERT INTO cluster_events (event_time, tenant, event_id, resource, kind, reason, severity, offset)"
    " SELECT {at}, '{tenant}', concat('many-', toString(number)), '{scope}/pod/web', 'kubernetes', 'Unhealthy',"
    " if(number % 50 = 0, 'warning', 'normal'), 10000000 + number FROM numbers({calls})",
    "INSERT INTO incident_timeline (event_time, tenant, incident_id, type, resource, shows, event_id, revision)"
    " SELECT {at}, '{tenant}', '{id}', 'signal', '{scope}/pod/web', concat('call ', toString(number)),"
    " concat('many-', toString(number)), 1 FROM numbers({calls})",
)
# how many texts of tables and panels are wider than the panel around them
CUT = """[...document.querySelectorAll('.panel')].filter(one => one.scrollWidth > one.clientWidth + 1).length"""


@dataclass(slots=True)
class Seen:
    """What the browser saw, by what it did."""

    texts: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    numbers: dict[str, float] = field(default_factory=dict)


@pytest.fixture(scope="module")
def seen(clickhouse: Database) -> Iterator[Seen]:
    with recording_of(story()) as recording:
        limits = Path("pipeline/demo/limits.yml")
        yield run(clickhouse, list(recording.messages()), limits=limits, reading=_look).extra["read"]


def _look(client: Client) -> Seen:
    seen = Seen()
    found = stored.newest(client, 10)
    now = max(incident.updated_at for incident in found)
    with served(client, now) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
        page = context.new_page()
        page.on("pageerror", lambda error: seen.faults.append(str(error)))
        page.on("console", lambda said: seen.faults.append(said.text) if said.type == "error" else None)
        page.on(
            "request", lambda asked: seen.elsewhere.append(asked.url) if not asked.url.startswith(server.url) else None
        )
        page.goto(f"{server.url}/?token={TOKEN}")
        seen.texts["overview"] = _main(page, "Before")
        _picture(page, "overview")
        for incident in found:
            page.mouse.wheel(0, 3000)  # where the view before was read to
            seen.texts[incident.kind] = _incident(page, server, incident)
            seen.numbers[f"{incident.kind} top"] = page.evaluate("scrollY")
            seen.texts[f"{incident.kind} decisive"] = page.locator("canvas.wide").get_attribute("data-decisive") or ""
            seen.numbers[f"{incident.kind} decisive"] = page.locator("tr.decisive").count()
            _picture(page, incident.kind)
            seen.texts[f"{incident.kind} prevention"] = _prevention(page)
        seen.texts["postmortem"] = _postmortem(page)
        page.goto(f"{server.url}/#/agent/{found[0].tenant}/seo-agent")
        seen.texts["agent"] = _main(page, "Its incidents")
        _picture(page, "agent")
        _keyboard(page, server, found[0], seen)
        page.set_viewport_size({"width": 390, "height": 844})
        page.emulate_media(color_scheme="dark")
        page.goto(f"{server.url}/#/")
        _main(page, "Before")
        seen.numbers["phone cut"] = page.evaluate(CUT)
        _picture(page, "overview_phone_dark")
        _incident(page, server, found[0])
        seen.numbers["phone cut of an incident"] = page.evaluate(CUT)
        _picture(page, "incident_phone_dark")
        seen.numbers["phone overflow"] = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        page.goto(f"{server.url}/#/agent/{found[0].tenant}/seo-agent")
        _main(page, "Its incidents")
        seen.numbers["phone overflow of an agent"] = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        _picture(page, "agent_phone")
        seen.numbers["phone cut of an agent"] = page.evaluate(CUT)
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 1280, "height": 900})
        _live(page, server, client, found[0], seen)
        _hold(page, server, next(i for i in found if i.kind == "feedback_loop"), seen)
        _hostile(page, server, client, found[0], seen)
        _large(page, server, client, next(i for i in found if i.kind == "feedback_loop"), seen)
        browser.close()
    return seen


def _keyboard(page: Page, server: Served, incident: Incident, seen: Seen) -> None:
    """By keys alone: into an incident from the overview, and nearer in its lanes. Everything that can be used has a name."""
    page.goto(f"{server.url}/#/")
    _main(page, "Before")
    link = page.get_by_role("link", name=incident.title, exact=True).first
    link.focus()
    page.keyboard.press("Enter")
    expect(page.locator("canvas.wide")).to_have_attribute("data-drawn", "yes", timeout=20_000)
    page.locator("canvas.wide").focus()
    with page.expect_request(lambda asked: "/lanes?" in asked.url) as nearer:
        page.keyboard.press("+")
    begin, end = (int(part.split("=")[1]) for part in nearer.value.url.split("?")[1].split("&"))
    whole = incident.updated_at // 1000 - incident.started_at // 1000
    seen.numbers["nearer"] = (end - begin) / whole
    seen.numbers["nameless"] = page.evaluate(
        "[...document.querySelectorAll('a, button, input, canvas, summary')]"
        ".filter(node => !(node.getAttribute('aria-label') || node.textContent).trim()).length"
    )


def _main(page: Page, until: str) -> str:
    expect(page.locator("main")).to_contain_text(until, timeout=20_000)
    return page.locator("main").inner_text()


def _incident(page: Page, server: Served, incident: Incident) -> str:
    page.goto(f"{server.url}/#/incident/{incident.incident_id}")
    expect(page.locator("h1")).to_contain_text(incident.title[:40], timeout=20_000)
    text = _main(page, "Timeline")
    expect(page.locator("canvas.wide")).to_have_attribute("data-drawn", "yes", timeout=20_000)
    return text


def _prevention(page: Page) -> str:
    panel = page.locator("section", has_text="What would have prevented it")
    panel.locator("summary").click()
    expect(panel.locator("li").first).to_be_visible(timeout=60_000)
    return panel.inner_text()


def _postmortem(page: Page) -> str:
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Postmortem").click()
    opened.value.wait_for_load_state()
    text = opened.value.locator("main").inner_text()
    opened.value.close()
    return text


def _picture(page: Page, name: str) -> None:
    if PICTURES is not None:
        page.screenshot(path=PICTURES / f"{name}.png")


def _write(client: Client, incidents: list[Incident]) -> None:
    for table in ("incidents", "incident_revisions"):
        client.insert_frame(table, incident_frame(incidents), f"web {incidents[0].revision}")
    client.insert_frame("incident_timeline", timeline_frame(incidents), f"web {incidents[0].revision}")


def _live(page: Page, server: Served, client: Client, incident: Incident, seen: Seen) -> None:
    """A new revision is on the page that shows it, without a hand on the keyboard, the row there sooner or later."""
    _incident(page, server, incident)
    expect(page.locator("#state")).to_have_text("live", timeout=20_000)
    why = Transition(at=incident.updated_at, type="severity", shows="critical to info: nothing strong is left")
    for number in range(1, 1 + TRIES):
        title = f"Revision {number} that corrects it"
        changes = {"revision": incident.revision + number, "title": title, "severity": "info", "transitions": (why,)}
        newer = incident.model_copy(update=changes)
        _write(client, [newer])
        began = page.evaluate("performance.now()")
        server.hub.publish_from_thread([_said(newer), {"type": "line", "line": "14:30:00 a line of the tail"}])
        expect(page.locator("h1")).to_contain_text(title, timeout=20_000)
        seen.numbers["live"] = min(page.evaluate("performance.now()") - began, seen.numbers.get("live", 1e9))
        if number == 1:
            seen.texts["lines"] = page.locator("#lines").inner_text()
            seen.texts["marked"] = page.locator("h1").get_attribute("class") or ""
            seen.texts["revised"] = page.locator(".revised").inner_text()
            seen.texts["rated"] = page.locator("main .facts").inner_text()
        if seen.numbers["live"] < LIVE_MS:
            break
    late = newer.model_copy(update={"revision": newer.revision + 1, "title": "Told before its row was there"})
    with page.expect_response(lambda answer: answer.url.endswith(incident.incident_id)):
        server.hub.publish_from_thread([_said(late)])
    _write(client, [late])
    expect(page.locator("h1")).to_contain_text(late.title, timeout=20_000)


def _said(incident: Incident) -> dict[str, Any]:
    """What the pages are told of a revision."""
    return {
        "type": "incident",
        "id": incident.incident_id,
        "revision": str(incident.revision),
        "status": incident.status,
    }


def _hold(page: Page, server: Served, incident: Incident, seen: Seen) -> None:
    """Paused and resumed from the incident, with a name and a reason."""
    _incident(page, server, incident)
    for button, reason in (("Pause it", "it writes the same hook"), ("Let it go on", "the hook is fixed")):
        page.get_by_role("button", name="Pause or resume this agent").click()
        page.get_by_label("your name").fill("kim")
        page.get_by_label("why").fill(reason)
        page.get_by_role("button", name=button).click()
        expect(page.locator("main [role=status]")).to_contain_text("seo-agent", timeout=10_000)
        (control,) = server.board.known()
        seen.texts[button] = f"{control.action} {control.about} {control.author} {control.reason} {control.incident_id}"
        if button == "Pause it":
            page.goto(f"{server.url}/#/")
            seen.texts["held"] = _main(page, "Held agents")
            page.goto(f"{server.url}/#/agent/{incident.tenant}/seo-agent")
            seen.texts["held, at the agent"] = _main(page, "Its incidents")
            seen.texts["held, at the incident"] = _incident(page, server, incident)
    page.goto(f"{server.url}/#/")
    seen.texts["let go"] = _main(page, "Pages of the day")
    _incident(page, server, incident)


def _hostile(page: Page, server: Served, client: Client, incident: Incident, seen: Seen) -> None:
    """Texts that agents wrote, in every place that shows texts."""
    evidence = tuple(
        item.model_copy(update={"shows": text, "resource": text, "type": "signal", "event_id": f"e{number}"})
        for number, (item, text) in enumerate(zip([incident.evidence[0]] * len(PAYLOADS), PAYLOADS, strict=True))
    )
    bad = [
        incident.model_copy(
            update={
                "incident_id": f"hostile-{number:03}",
                "title": text,
                "summary": text,
                "agent_id": text,
                "scope": text,
                "evidence": evidence,
            }
        )
        for number, text in enumerate(PAYLOADS[:20])
    ]
    _write(client, bad)
    page.goto(f"{server.url}/#/")
    page.reload()
    seen.texts["hostile overview"] = _main(page, "<svg/onload")
    page.goto(f"{server.url}/#/incident/{bad[0].incident_id}")
    seen.texts["hostile"] = _main(page, PAYLOADS[-1][-12:])
    page.locator("canvas.wide").hover()
    page.goto(f"{server.url}/#/agent/{incident.tenant}/{'%3Cscript%3E'}")
    _main(page, "<script>")
    paper = page.context.new_page()
    paper.set_content(FORMATS["html"].render(build(client, bad[0].incident_id, bad[0].revision)))
    seen.texts["hostile postmortem"] = paper.locator("main").inner_text()
    seen.numbers["paper"] = paper.evaluate(
        "document.querySelectorAll('script, iframe, img, [onload], [onerror]').length + (window.hit === undefined ? 0 : 1)"
    )
    paper.close()
    seen.numbers["hits"] = page.evaluate("window.hit === undefined ? 0 : 1")
    seen.numbers["frames"] = page.evaluate(
        "document.querySelectorAll('main script, main iframe, main img, main svg, main style').length"
    )


def _large(page: Page, server: Served, client: Client, incident: Incident, seen: Seen) -> None:
    """A day of a hundred thousand calls, as many events of its scope, and as many rows of its timeline."""
    day = {"resolved_at": incident.started_at + DAY, "updated_at": incident.started_at + DAY}
    whole = incident.model_copy(update=day | {"revision": incident.revision + 1})
    _write(client, [whole])
    values = {
        "at": f"fromUnixTimestamp64Micro(toInt64({whole.started_at} + number * {DAY // CALLS}), 'UTC') AS at",
        "tenant": whole.tenant,
        "scope": whole.scope,
        "session": whole.session_ids[0],
        "id": whole.incident_id,
        "calls": CALLS,
    }
    for statement in MANY_ROWS:
        client.command(statement.format(**values))
    with (
        page.expect_response(lambda answer: f"{whole.incident_id}/lanes" in answer.url) as answered,
        page.expect_response(lambda answer: answer.url.endswith(f"/api/incidents/{whole.incident_id}")) as found,
    ):
        _incident(page, server, whole)
    seen.numbers["bytes"], seen.numbers["bytes of rows"] = len(answered.value.body()), len(found.value.body())
    lanes = answered.value.json()
    for name in ("calls", "events"):
        seen.numbers[name], seen.numbers[f"{name} in buckets"] = lanes[name]["count"], len(lanes[name]["buckets"])
    seen.numbers["rows"] = found.value.json()["timeline_count"]
    seen.texts["rows"] = page.locator("main .tools", has_text="rows").last.inner_text()
    _used(page, seen)


def _used(page: Page, seen: Seen) -> None:
    """What zooming, pointing and scrolling cost the page, in CPU of its thread: other work on the machine is not in it."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent() -> float:
        return {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}["TaskDuration"]

    def step(name: str, steps: list[Callable[[], None]]) -> None:
        before = spent()
        for do in steps:
            do()
            page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        seen.numbers[name] = 1000 * (spent() - before) / len(steps)

    canvas = page.locator("canvas.wide")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    canvas.focus()
    step("zoom", [partial(page.keyboard.press, key) for key in "+++---"])
    step("point", [partial(page.mouse.move, box["x"] + 230 + 40 * n, box["y"] + 40) for n in range(20)])
    seen.texts["tip"] = page.locator("#tip").inner_text()
    page.get_by_role("button", name="all ").last.click()
    step("scroll", [partial(page.mouse.wheel, 0, 800)] * 10)
    step("more", [page.get_by_role("button", name=" more").last.click] * 5)
    print({name: round(seen.numbers[name], 1) for name in ("zoom", "point", "scroll", "more")}, "ms of CPU a step")


def test_the_overview_says_what_is_open_who_burns_and_who_was_paged(seen: Seen) -> None:
    text = seen.texts["overview"]
    assert "Nothing is open" in text
    assert "seo-agent" in text
    assert "node node-7 failed" in text
    assert "console (page, firing)" in text
    assert "51% of 20,000,000" in text, "what it used today against its budget"
    for said in ("Silent sources", "None is known.", "None is paused or halted."):
        assert said in text, "what there is none of is said"


def test_each_story_says_who_did_it_what_it_did_not_know_and_which_limit_was_missing(seen: Seen) -> None:
    failure = seen.texts["agent_caused_failure"]
    for said in ("Who did it: agent", "never asked", "change-calendar", "not granted", "Do first", "kubernetes.scale"):
        assert said in failure
    loop = seen.texts["feedback_loop"]
    for said in ("1260% of the calls needed", "unplanned tokens", "step limit: none"):
        assert said in loop
    assert "What it had read by 14:09:00" in failure
    had_read = failure.split("What it had read by 14:09:00")[1].split("Which limit was missing")[0]
    assert "metrics.query of prod-eu/checkout/deployment/cart" in had_read
    assert "change-calendar" not in had_read, "what it never asked is not what it had read"
    assert "how soon before, against what is usual" in failure, "factors are told in words"
    assert "Who did it: infrastructure" in seen.texts["infrastructure_failure"]
    assert "What it had read" not in seen.texts["infrastructure_failure"]
    held = "Waiting for approval would have held kubernetes.scale at 14:09:00"
    assert held in seen.texts["agent_caused_failure prevention"]
    assert "would have stopped the session" in seen.texts["feedback_loop prevention"]
    assert "no agent is held responsible" in seen.texts["infrastructure_failure prevention"]
    assert "What would have prevented it" in seen.texts["postmortem"]
    agent = seen.texts["agent"]
    assert "1.9.0" in agent
    assert "Drift: the last hour against the week before" in agent
    assert "step limit: none" in agent.split("Limits hit, and limits that were missing")[1]


def test_the_decisive_line_is_drawn_where_a_change_decided_it_and_nowhere_else(seen: Seen) -> None:
    assert (seen.texts["agent_caused_failure decisive"], seen.numbers["agent_caused_failure decisive"]) == ("yes", 1)
    for kind in ("infrastructure_failure", "feedback_loop"):
        assert (seen.texts[f"{kind} decisive"], seen.numbers[f"{kind} decisive"]) == ("no", 0)


def test_a_view_begins_at_its_top(seen: Seen) -> None:
    kinds = ("agent_caused_failure", "infrastructure_failure", "feedback_loop")
    assert [seen.numbers[f"{kind} top"] for kind in kinds] == [0, 0, 0]


def test_a_revision_is_on_the_page_within_two_seconds_and_marked(seen: Seen) -> None:
    assert seen.numbers["live"] < LIVE_MS
    assert "changed" in seen.texts["marked"]
    assert "Revised at" in seen.texts["revised"]
    assert "→ Revision 1 that corrects it" in seen.texts["revised"], "what it replaces stands beside it"
    assert "severity: critical → info because of nothing strong is left" in seen.texts["revised"]
    assert "critical to info: nothing strong is left, at 14:" in seen.texts["rated"]
    assert "a line of the tail" in seen.texts["lines"]


def test_an_agent_is_paused_and_goes_on(seen: Seen) -> None:
    assert seen.texts["Pause it"].startswith("pause seo-agent user:kim it writes the same hook a9891d25")
    assert "it writes the same hook" in seen.texts["held"]
    assert "user:kim" in seen.texts["held"]
    for where in ("held, at the agent", "held, at the incident"):
        assert "pause of seo-agent by user:kim, until 2026-03-02 14:" in seen.texts[where]
        assert ": it writes the same hook" in seen.texts[where]
    assert "None is paused or halted." in seen.texts["let go"]
    assert seen.texts["Let it go on"].startswith("resume seo-agent user:kim the hook is fixed")


def test_a_hundred_payloads_are_text(seen: Seen) -> None:
    assert len(PAYLOADS) == 100
    assert (seen.numbers["hits"], seen.numbers["frames"]) == (0, 0)
    assert seen.numbers["paper"] == 0
    assert PAYLOADS[0] in seen.texts["hostile postmortem"]
    for payload in PAYLOADS[:9]:
        assert payload.strip() in seen.texts["hostile"]


def test_nothing_failed_and_nothing_came_from_elsewhere(seen: Seen) -> None:
    assert seen.faults == []
    assert seen.elsewhere == []


def test_a_day_of_a_hundred_thousand_rows_comes_as_buckets_and_stays_fluid(seen: Seen) -> None:
    for name in ("calls", "events"):
        assert seen.numbers[name] >= CALLS
        assert 100 < seen.numbers[f"{name} in buckets"] <= 601
    assert seen.numbers["rows"] > CALLS
    assert "5,000 of 100,0" in seen.texts["rows"], "what is left out is said"
    assert re.search(r"^\d\d:\d\d:\d\d\n\d+ calls, \d+ errors, 0 changes", seen.texts["tip"]), (
        "a bucket says what is in it"
    )
    assert seen.numbers["bytes"] < 1_000_000
    assert seen.numbers["bytes of rows"] < 2_000_000
    for name in ("zoom", "point", "scroll", "more"):
        assert seen.numbers[name] < AT_ONCE_MS, f"{name}: a person waits for that"


def test_a_phone_shows_it_without_scrolling_sideways(seen: Seen) -> None:
    assert seen.numbers["phone overflow"] <= 0
    assert seen.numbers["phone overflow of an agent"] <= 0
    assert [seen.numbers[name] for name in ("phone cut", "phone cut of an incident", "phone cut of an agent")] == [
        0,
        0,
        0,
    ]


def test_keys_do_what_a_pointer_does_and_everything_has_a_name(seen: Seen) -> None:
    assert 0 < seen.numbers["nearer"] < 2, "half of the window: the incident, ten minutes before and five after"
    assert seen.numbers["nameless"] == 0
