"""What is right and wrong in the recorded sets, read from the sets themselves: the other half of bench/converters.

A detector sees what the converters make; nothing of what is read here gets into an event.
"""

import csv
import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.converters.claude_code import lines
from bench.converters.files import data_set
from bench.converters.k8s_events import CLUSTER
from bench.converters.petshop import points, resource
from schemas.times import parse_time

IN_LOOP = re.compile(r'"is_in_loop":\s*\{[^}]*"answer":\s*(true|false)')
ASKED_FOR = "ae4a77f8"  # the publisher's own record says so; the reduced lines no longer do
SUMMARY_AGENT = "acompact"  # side agents that write the summary at a compaction: not scored


@dataclass(frozen=True, slots=True)
class Ledgers:
    """A Magentic-One log: the steps whose ledger says it is in a loop."""

    log: str
    flagged: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Compaction:
    """A coding session whose context was full and replaced by a summary."""

    session_id: str
    moment: int
    is_automatic: bool


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of the shop: where it was injected, and the first and last point of its file."""

    traffic: str
    root_cause: str
    metric: str
    first: int
    last: int
    points: tuple[tuple[int, str, str, str, float], ...]


@dataclass(frozen=True, slots=True)
class Series:
    """A metric series: its times and values as in the file, and the windows (ends included) that are anomalies."""

    resource: str
    times: tuple[int, ...]
    values: tuple[float, ...]
    windows: tuple[tuple[int, int], ...]

    @property
    def is_of_tweets(self) -> bool:
        """Left out of the naive figures that are stated with the labels."""
        return "/realTweets/" in self.resource

    def window_of(self, moment: int) -> int | None:
        """The window that holds this moment."""
        return next((at for at, (start, end) in enumerate(self.windows) if start <= moment <= end), None)


def magentic_one(folder: Path) -> list[Ledgers]:
    """58 logs."""
    found = []
    for path in (data_set(folder, "whowhen_agentrx") / "hand_crafted").glob("*.json.gz"):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            history = json.load(file)["history"]
        verdicts = ((step, IN_LOOP.search(message["content"])) for step, message in enumerate(history))
        flagged = tuple(step for step, verdict in verdicts if verdict and verdict[1] == "true")
        found.append(Ledgers(path.name.split(".")[0], flagged))
    return sorted(found, key=lambda ledgers: int(ledgers.log))


def compactions(folder: Path) -> list[Compaction]:
    """Five, of which one was asked for."""
    return [
        Compaction(line["sessionId"], parse_time(line["timestamp"]), line["sessionId"][:8] != ASKED_FOR)
        for line in lines(folder)
        if line["subtype"] == "compact_boundary"
    ]


def agents_with_room(folder: Path) -> set[tuple[str, str]]:
    """(session, agent) whose context was never full: side agents, and the main agents of the short runs."""
    full = {compaction.session_id for compaction in compactions(folder)}
    agents = {(line["sessionId"], line["agentId"] or "main") for line in lines(folder) if line["type"] == "assistant"}
    return {
        (session, agent)
        for session, agent in agents
        if not agent.startswith(SUMMARY_AGENT) and (agent != "main" or session not in full)
    }


def crash_loops(folder: Path) -> dict[str, int]:
    """Pod -> when it was last seen backing off."""
    items = json.loads((data_set(folder, "k8s_events") / "velero.json").read_text())["items"]
    return {
        f"{CLUSTER}/{item['involvedObject']['namespace']}/pod/{item['involvedObject']['name']}": parse_time(
            item["lastTimestamp"]
        )
        for item in items
        if item["type"] == "Warning" and item["reason"] == "BackOff"
    }


def faults(folder: Path) -> list[Fault]:
    """68 faults."""
    found = []
    for path in sorted(data_set(folder, "petshop").glob("*/*/*/target.json")):
        target, traffic = json.loads(path.read_text()), path.parents[2].name
        own = tuple(points(path.with_name("metrics.csv")))
        times = [point[0] for point in own]
        root = resource(traffic, target["root_cause"]["node"])
        found.append(Fault(traffic, root, target["target"]["metric"], min(times), max(times), own))
    return found


def quiet(folder: Path) -> dict[str, list[tuple[int, str, str, str, float]]]:
    """Traffic -> the points of its two days without faults."""
    files = sorted(data_set(folder, "petshop").glob("*/noissue/metrics.csv.gz"))
    return {path.parents[1].name: list(points(path)) for path in files}


def nab(folder: Path) -> Iterator[Series]:
    """33 series."""
    root = data_set(folder, "nab")
    windows = json.loads((root / "labels" / "combined_windows.json").read_text())
    for path in sorted((root / "data").glob("*/*.csv")):
        group = path.parent.name
        with path.open(newline="") as file:
            rows = [(parse_time(row["timestamp"] + "+00:00"), float(row["value"])) for row in csv.DictReader(file)]
        yield Series(
            resource=f"nab/{group}/series/{path.stem}",
            times=tuple(moment for moment, _ in rows),
            values=tuple(value for _, value in rows),
            windows=tuple(
                (parse_time(start + "+00:00"), parse_time(end + "+00:00"))
                for start, end in windows[f"{group}/{path.name}"]
            ),
        )
