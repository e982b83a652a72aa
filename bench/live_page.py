"""How long it takes until a person sees an incident: from the end of its pane to the row on the live page, in a browser.

    python -m bench.live_page [--incidents 10]

`aftermath run --embedded --web` as it is shipped, and Chromium that looks at the overview; agents get stuck one after
the other. What lateness and pane ask for by definition is not counted: an incident can be known when its pane has ended
and the lateness is over, and from then on the clock runs until its row stands on the page. Told is the moment at which
the page hears of it from Kafka: before it lie detect and correlate, after it the row in ClickHouse and the drawing.
All partitions of all input topics carry something, as in production.
"""

import argparse
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

from playwright.sync_api import Page, sync_playwright

from bench.throughput import machine
from pipeline.clock import now_micros
from pipeline.core.panes import TimeRules
from pipeline.embedded.connection_file import read_connection_file
from pipeline.kafka_connection import KafkaConnection
from pipeline.player import flush, new_producer
from schemas.codecs.single import encode_event
from schemas.events import AgentSpan, ClusterEvent, MetricPoint
from schemas.topics import INPUTS, TRACES

CALLS, APART = 8, 0.3  # of each loop, seconds
EVERY = 4.0  # seconds between the beginnings of two loops
AFTER = 30.0  # seconds the load goes on, and the page is looked at, after the last loop
SERIES = 75  # metrics beside the loops: each is scraped once in 15 s, not five times a second
LATENESS_MS = TimeRules().lateness // 1000
WATCH = """
window.told = {}; window.shown = {};
const stream = new EventSource("/api/stream");
stream.onmessage = event => { const one = JSON.parse(event.data); if (one.type === "incident") window.told[one.id] ??= Date.now(); };
const look = () => { for (const row of document.querySelectorAll("main tr[data-id]")) window.shown[row.dataset.id] ??= Date.now(); };
new MutationObserver(look).observe(document.getElementById("main"), { childList: true, subtree: true });
"""


def publish(kafka: str, loops: int, ended: threading.Event) -> None:
    """Each loop at its time, and something on every partition five times a second, until it is told to end."""
    producer = new_producer(KafkaConnection(servers=kafka))
    errors: list[str] = []
    began = time.monotonic()
    due = sorted((EVERY * loop + APART * call, loop, call) for loop in range(loops) for call in range(CALLS))
    for tick in itertools.count():
        if ended.wait(0.2):
            break
        stamp, scraped = now_micros(), f"a/b/pod/r{tick % SERIES}"
        for number in range(max(topic.partitions for topic in INPUTS)):
            beside = (
                span(stamp, "busy", f"b{number}-{stamp}", f"step {stamp}"),
                encode_event(MetricPoint(event_time=stamp, tenant="acme", resource=scraped, metric="up", value=1.0)),
                encode_event(ClusterEvent(event_time=stamp, tenant="acme", event_id=f"e{number}-{stamp}", resource="a/b/c/d", kind="kubernetes")),
            )  # fmt: skip
            for topic, value in zip(INPUTS, beside, strict=True):
                if number < topic.partitions:
                    producer.produce(topic.name, value, partition=number)
        while due and due[0][0] <= time.monotonic() - began:
            _, loop, call = due.pop(0)
            value = span(now_micros(), f"stuck-{loop}", f"s{loop}-{call}", "same")
            producer.produce(TRACES.name, value, partition=loop % TRACES.partitions)
        producer.poll(0)
    flush(producer, errors)


def span(stamp: int, agent: str, name: str, result: str) -> bytes:
    """A call of a tool that gave this."""
    return encode_event(
        AgentSpan(
            event_time=stamp, tenant="acme", trace_id=agent, span_id=name, session_id=agent, agent_id=agent,
            operation="execute_tool", tool_name="ticket.read", tool_args='{"id":7}', result_digest=result,
        )
    )  # fmt: skip


def look(page: Page, link: str, loops: int, ended: threading.Event) -> list[tuple[float, float]]:
    """(told, shown) of each incident, seconds after it could be known."""
    page.goto(link)
    page.wait_for_selector("#state:text('live')")
    page.evaluate(WATCH)
    end = time.monotonic() + EVERY * loops + AFTER
    while time.monotonic() < end and page.evaluate("Object.keys(window.shown).length") < loops:
        page.wait_for_timeout(200)
    ended.set()
    found = page.evaluate("fetch('/api/overview').then(answer => answer.json())")
    told, shown = page.evaluate("window.told"), page.evaluate("window.shown")
    times = []
    for one in found["open"] + found["recent"]:
        if one["id"] in told and one["id"] in shown:
            known = one["detected_ms"] + LATENESS_MS
            times.append(((told[one["id"]] - known) / 1000, (shown[one["id"]] - known) / 1000))
    return times


def main() -> None:
    """Print one table. Raises RuntimeError where an incident never came."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--incidents", type=int, default=10)
    args = arguments.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    ended = threading.Event()
    with tempfile.TemporaryDirectory(prefix="aftermath-page-") as folder:
        log = Path(folder) / "log"
        given = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "AFTERMATH_CONFIG": os.devnull}
        with log.open("wb") as out:
            worker = subprocess.Popen(
                [sys.executable, "-m", "pipeline.cli", "run", "--embedded", "--web", "0"],
                cwd=folder, env=given, stdout=out, stderr=out,
            )  # fmt: skip
        try:
            link = None
            while link is None:
                if worker.poll() is not None:
                    raise RuntimeError(f"the worker ended: {log.read_text()[-2000:]}")
                link = re.search(r'"link": "(http[^"]+)"', log.read_text())
                time.sleep(0.2)
            kafka = read_connection_file(Path(folder) / ".aftermath/demo.json").kafka
            load = threading.Thread(target=publish, args=(kafka, args.incidents, ended))
            load.start()
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                times = look(browser.new_page(), link[1], args.incidents, ended)
                browser.close()
            load.join()
        finally:
            ended.set()
            worker.terminate()
            worker.wait(60)
    if len(times) < args.incidents:
        raise RuntimeError(f"{len(times)} of {args.incidents} incidents were on the page; the machine is too busy")
    print(f"{machine()}; load average {os.getloadavg()[0]:.1f}")
    print("| seconds after it can be known | least | median | most |\n|---|---|---|---|")
    for name, values in (("told", [one[0] for one in times]), ("on the page", [one[1] for one in times])):
        print(f"| {name} | {min(values):.2f} | {median(values):.2f} | {max(values):.2f} |")


if __name__ == "__main__":
    main()
