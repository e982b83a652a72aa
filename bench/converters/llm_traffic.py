"""One hour of three LLM services (Azure, CC-BY-4.0; Mooncake, Apache-2.0). The mapping is the demo's.

The times of Mooncake are milliseconds since its start: it is laid beside the two others, at 18:00 UTC.
"""

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

from bench.converters.files import Event, data_set, main
from pipeline.demo.llm_traffic import Call, span, spread
from schemas.signals import stable_hash
from schemas.times import parse_time

MOONCAKE_START = parse_time("2023-11-16T18:00:00Z")
AZURE_FILES = {"code": "AzureLLMInferenceTrace_code.csv", "conv": "AzureLLMInferenceTrace_conv.csv"}
MOONCAKE_FILE = "conversation_trace.jsonl.gz"


def azure(folder: Path, series: str) -> list[Call]:
    """A series of Azure. Its times have seven fraction digits; six are kept."""
    with (data_set(folder, "llm_traffic") / AZURE_FILES[series]).open(newline="") as file:
        return [
            Call(
                series,
                number,
                parse_time(row["TIMESTAMP"][:26] + "+00:00"),
                int(row["ContextTokens"]),
                int(row["GeneratedTokens"]),
            )
            for number, row in enumerate(csv.DictReader(file))
        ]


def mooncake(folder: Path) -> list[Call]:
    """The series `kimi`, the calls of each recorded tick spread over its three seconds."""
    with gzip.open(data_set(folder, "llm_traffic") / MOONCAKE_FILE, "rt", encoding="utf-8") as file:
        rows = [json.loads(text) for text in file]
    calls = (
        Call(
            "kimi",
            number,
            MOONCAKE_START + row["timestamp"] * 1000,
            row["input_length"],
            row["output_length"],
            stable_hash(*row["hash_ids"]),
        )
        for number, row in enumerate(rows)
    )
    return list(spread(calls))


def convert(folder: Path) -> Iterator[Event]:
    """40 216 calls."""
    calls = azure(folder, "code") + azure(folder, "conv") + mooncake(folder)
    for call in sorted(calls, key=lambda call: (call.start_time, call.series, call.row)):
        yield span(call)


if __name__ == "__main__":
    main(convert, __doc__ or "")
