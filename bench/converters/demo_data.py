"""Makes the files in `pipeline/demo/data` from the published data sets; for maintainers, once.

    python -m bench.converters.demo_data FOLDER

The same input gives the same bytes. Of the sessions only the first half hour and only what the mapping reads
is kept; of the traffic the first half hour that begins with a full minute.
"""

import argparse
import gzip
import io
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from bench.converters.claude_code import lines
from bench.converters.files import data_set
from bench.converters.llm_traffic import MOONCAKE_START, azure, mooncake
from pipeline.demo.healthy import DATA, SESSION_STARTS, SESSIONS_FILE, TRAFFIC_COLUMNS, TRAFFIC_FILE
from pipeline.demo.llm_traffic import Call
from schemas.errors import UsageError
from schemas.times import MINUTE, parse_time

HALF_HOUR = 30 * MINUTE
LICENCES = {
    "claude_code/LICENSE.txt": "LICENSE-claude_code-MIT.txt",
    "llm_traffic/LICENSE-azure-CC-BY-4.0.txt": "LICENSE-llm_traffic-azure-CC-BY-4.0.txt",
    "llm_traffic/LICENSE-mooncake-APACHE-2.0.txt": "LICENSE-llm_traffic-mooncake-APACHE-2.0.txt",
}


def packed(texts: Iterable[bytes]) -> bytes:
    """gzip without a time or a name in it."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as file:
        for text in texts:
            file.write(text + b"\n")
    return buffer.getvalue()


def sessions(folder: Path) -> bytes:
    """The chosen sessions, their first half hour, the fields that the mapping reads."""
    found = lines(folder)
    starts = {
        session_id: min(parse_time(line["timestamp"]) for line in found if line["sessionId"] == session_id)
        for session_id in SESSION_STARTS
    }
    texts = []
    for line in found:
        start = starts.get(line["sessionId"])
        if start is None or parse_time(line["timestamp"]) >= start + HALF_HOUR:
            continue
        kept: dict[str, Any] = {name: line[name] for name in ("type", "timestamp", "sessionId", "agentId")}
        if line["type"] == "assistant":
            kept |= {name: line[name] for name in ("id", "model", "usage")}
        elif line["type"] != "user":
            continue
        kept["content"] = [
            {name: value for name, value in part.items() if name not in ("error_text", "chars")}
            for part in line["content"]
            if part["type"] in ("tool_use", "tool_result")
        ]
        if kept["content"] or line["type"] == "assistant":
            texts.append(orjson.dumps(kept))
    return packed(texts)


def traffic(folder: Path) -> bytes:
    """The first full half hour of each series, times as microseconds since its begin."""
    texts = [",".join(TRAFFIC_COLUMNS).encode()]
    for calls in (azure(folder, "code"), azure(folder, "conv"), mooncake(folder)):
        texts += [_row(call, begin).encode() for begin, call in _half_hour(calls)]
    return packed(texts)


def _half_hour(calls: list[Call]) -> list[tuple[int, Call]]:
    # Mooncake begins with a full minute; the files of Azure begin in the middle of one
    first = min(call.start_time for call in calls)
    begin = first if first == MOONCAKE_START else -(-first // MINUTE) * MINUTE
    return [(begin, call) for call in calls if begin <= call.start_time < begin + HALF_HOUR]


def _row(call: Call, begin: int) -> str:
    sizes = f"{call.input_tokens},{call.output_tokens}"
    return f"{call.series},{call.row},{call.start_time - begin},{sizes},{call.args_digest or ''}"


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="the folder that holds claude_code/ and llm_traffic/")
    folder = parser.parse_args().folder
    try:
        for name in ("claude_code", "llm_traffic"):
            data_set(folder, name)
        DATA.mkdir(exist_ok=True)
        SESSIONS_FILE.write_bytes(sessions(folder))
        TRAFFIC_FILE.write_bytes(traffic(folder))
        for source, name in LICENCES.items():
            shutil.copyfile(folder / source, DATA / name)
    except UsageError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
