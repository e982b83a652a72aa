"""33 metric series of the Numenta Anomaly Benchmark (MIT). The windows that say what is an anomaly are not read.

Times have no zone in the files: UTC is assumed. Some series go back in time, some have a time twice; here all
series together are in the order of event time, and points of one time keep the order of their file.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from bench.converters.files import Event, data_set, main, without_nulls
from schemas.times import parse_time

TENANT = "nab"
# a part of the file's name -> unit, kind
KINDS: tuple[tuple[str, str, str], ...] = (
    ("disk_write", "By", "gauge"),
    ("network_in", "By", "gauge"),
    ("NetworkIn", "By", "gauge"),
    ("cpu", "%", "gauge"),
    ("request_count", "{request}", "delta"),
    ("Twitter_volume", "{tweet}", "delta"),
)


def convert(folder: Path) -> Iterator[Event]:
    """194 546 points."""
    root = data_set(folder, "nab") / "data"
    found: list[tuple[int, str, int, float]] = []
    for path in sorted(root.glob("*/*.csv")):
        with path.open(newline="") as file:
            name = f"{path.parent.name}/{path.stem}"
            for number, row in enumerate(csv.DictReader(file)):
                found.append((parse_time(row["timestamp"] + "+00:00"), name, number, float(row["value"])))
    found.sort()
    for moment, name, _, value in found:
        yield _point(moment, name, value)


def _point(moment: int, name: str, value: float) -> Event:
    group, series = name.split("/")
    unit, kind = next(((unit, kind) for part, unit, kind in KINDS if part in series), (None, "gauge"))
    return without_nulls(
        {
            "type": "metric_point",
            "event_time": moment,
            "tenant": TENANT,
            "resource": f"nab/{group}/series/{series}",
            "metric": series,
            "value": value,
            "unit": unit,
            "kind": kind,
        }
    )


if __name__ == "__main__":
    main(convert, __doc__ or "")
