"""Metrics of a shop on AWS with injected faults (PetShop, CC-BY-4.0), its call graph, and the commands that were run.

Each kind of traffic is a cluster of its own: their times overlap. That a command is the root cause of an
issue is the label of the set; what is published here is only that it was run, and on what.
"""

import csv
import gzip
import heapq
import json
import re
from collections.abc import Iterator
from pathlib import Path

from bench.converters.files import Event, data_set, main, without_nulls
from schemas.signals import compact_json, stable_hash
from schemas.times import MICROS

TENANT = "petshop"
TRAFFICS = ("high_traffic", "low_traffic", "temporal_traffic1", "temporal_traffic2")
UNITS = {"latency": "s", "requests": "{request}", "availability": "%"}
PARAMETER = re.compile(r"put-parameter --name '(?P<name>[^']*)' --value '(?P<value>[^']*)'")

# event_time, component, metric, statistic, value
Point = tuple[int, str, str, str, float]


def resource(traffic: str, component: str) -> str:
    """`high_traffic/petshop/ecs.fargate/PetSearch` of `PetSearch_AWS::ECS::Fargate`."""
    name, separator, kind = component.rpartition("_AWS::")
    if not separator:
        name, separator, kind = component.rpartition("_")
        if kind not in ("client", "remote", "Database::SQL"):
            name, kind = component, "service"
    return f"{traffic}/petshop/{kind.lower().replace('::', '.')}/{name}"


def points(path: Path) -> Iterator[Point]:
    """The filled cells of a `metrics.csv`: no calls, no value."""
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
        components, metrics, statistics, _, *rows = csv.reader(file)
    for row in rows:
        moment = round(float(row[0]) * MICROS)
        for component, metric, statistic, value in zip(
            components[1:], metrics[1:], statistics[1:], row[1:], strict=True
        ):
            if value:
                yield moment, component, metric, statistic, float(value)


def convert(folder: Path) -> Iterator[Event]:
    """371 978 points, 68 commands and the edges of four graphs, in the order of event time."""
    root = data_set(folder, "petshop")
    streams = (_traffic(root / traffic) for traffic in TRAFFICS)
    yield from heapq.merge(*streams, key=lambda event: event["event_time"])


def _traffic(folder: Path) -> Iterator[Event]:
    found = [point for path in sorted(folder.rglob("metrics.csv*")) for point in points(path)]
    found.sort()
    commands = [_command(folder.name, path) for path in sorted(folder.rglob("target.json"))]
    commands.sort(key=lambda event: event["event_time"])
    first = min(found[0][0], commands[0]["event_time"])
    yield from _graph(folder, first)
    metrics = (_metric(folder.name, point) for point in found)
    yield from heapq.merge(metrics, commands, key=lambda event: event["event_time"])


def _graph(folder: Path, moment: int) -> Iterator[Event]:
    with (folder / "graph.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    for caller, *cells in rows:
        for called, cell in zip(header[1:], cells, strict=True):
            if float(cell or 0) == 1:
                yield {
                    "type": "cluster_event",
                    "event_time": moment,
                    "tenant": TENANT,
                    "event_id": f"calls-{stable_hash(folder.name, caller, called)}",
                    "resource": resource(folder.name, caller),
                    "kind": "dependency",
                    "reason": "Calls",
                    "value": resource(folder.name, called),
                }


def _command(traffic: str, path: Path) -> Event:
    target = json.loads(path.read_text())
    command = target["metadata"]["reproducibility"]["command"]
    parameter = PARAMETER.search(command)
    kind = "config" if parameter else "deploy" if "cdk deploy" in command else "audit"
    moment = round(target["target"]["timestamp"] * MICROS)
    return without_nulls(
        {
            "type": "cluster_event",
            "event_time": moment,
            "tenant": TENANT,
            "event_id": f"command-{stable_hash(traffic, str(path.parent.relative_to(path.parents[2])))}",
            "resource": resource(traffic, target["root_cause"]["node"]),
            "kind": kind,
            "reason": parameter["name"] if parameter else None,
            "actor": "operator",
            "actor_kind": "human",
            "value": parameter["value"] if parameter else None,
            "message": command,
        }
    )


def _metric(traffic: str, point: Point) -> Event:
    moment, component, metric, statistic, value = point
    return {
        "type": "metric_point",
        "event_time": moment,
        "tenant": TENANT,
        "resource": resource(traffic, component),
        "metric": metric,
        "value": value,
        "unit": UNITS[metric],
        "kind": "delta" if metric == "requests" else "gauge",
        "labels": compact_json({"statistic": statistic}),
    }


if __name__ == "__main__":
    main(convert, __doc__ or "")
