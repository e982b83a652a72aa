"""A ClickHouse whose HTTP port fails on command. What it lets through goes to the embedded one, and is really written.

`plan` says for each INSERT what becomes of it:

    pass              written and answered
    500, 503, 429     refused with this status, nothing written
    code 243          refused with this number of ClickHouse's, nothing written
    hang              nothing written, and no answer until `release`
    write, then drop  written, and the connection closed without an answer
    slow 0.5          written and answered, half a second later
"""

import http.client
import re
import socket
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pipeline.embedded import Database
from sinks.clickhouse.client import Client

Place = tuple[int, int, str]  # partition, offset, number of the event


RETRY_AFTER_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Insert:
    """One INSERT as it came, and what became of it."""

    table: str
    token: str
    became: str
    at: float
    settings: Mapping[str, str]  # as they came with it


class FaultySink:
    """Listens on a port of its own; `close_port` and `open_port` take it away and give it back."""

    def __init__(self, database: Database, client: Client) -> None:
        self.client = client
        self.inserts: list[Insert] = []
        self.plan: Callable[[int], str] = lambda _: "pass"
        self.user, self.password = database.user, database.password
        self.upstream = (database.host, database.port)
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._server: _Server | None = None
        self._port = 0
        self.open_port()
        self.url = f"http://127.0.0.1:{self._port}"

    def open_port(self) -> None:
        self._server = _Server(self, self._port)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close_port(self) -> None:
        """Refuse new connections and cut those there are."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def release(self) -> None:
        """Let what hangs go, without an answer."""
        self._released.set()

    def close(self) -> None:
        self.release()
        self.close_port()

    def decide(self, table: str, settings: Mapping[str, str]) -> str:
        with self._lock:
            became = self.plan(len(self.inserts))
            token = settings.get("insert_deduplication_token", "")
            self.inserts.append(Insert(table, token, became, time.monotonic(), settings))
        return became

    def wait_for_release(self) -> None:
        self._released.wait(60)

    @property
    def became(self) -> Counter[str]:
        """How often what happened."""
        return Counter(insert.became for insert in list(self.inserts))

    def rows(self, *, final: bool = True) -> Counter[Place]:
        """What stands in agent_traces, past the faulty port; final: as readers see it, doubles folded."""
        kept = "FINAL" if final else ""
        found = self.client.query(f"SELECT partition, offset, span_id FROM agent_traces {kept}")
        return Counter((row["partition"], row["offset"], row["span_id"]) for row in found)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, sink: FaultySink, port: int) -> None:
        self.sink = sink
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that was cut is the fault that was ordered."""

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        for connection in list(self._open):
            self.shutdown_request(connection)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Not one line per request."""

    def do_GET(self) -> None:
        self._forward(b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        options = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        statement = options.get("query", "") + body[:200].decode("latin-1")
        found = re.match(r"\s*INSERT INTO `?(?:\w+`?\.`?)?(\w+)", statement)
        if found is None:
            return self._forward(body)
        became = self.server.sink.decide(found[1], options)
        if became == "pass":
            self._forward(body)
        elif became.isdigit():
            self._answer(int(became), b"not now", {"Retry-After": str(RETRY_AFTER_SECONDS)})
        elif became.startswith("code "):
            number = became.removeprefix("code ")
            self._answer(
                500, f"Code: {number}. DB::Exception: ordered".encode(), {"X-ClickHouse-Exception-Code": number}
            )
        elif became.startswith("slow "):
            time.sleep(float(became.removeprefix("slow ")))
            self._forward(body)
        elif became == "hang":
            self.server.sink.wait_for_release()
            self.close_connection = True
        elif became == "write, then drop":
            self._ask(body)
            self.close_connection = True
        else:
            raise ValueError(f"the plan says {became!r}")

    def _ask(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        host, port = self.server.sink.upstream
        upstream = http.client.HTTPConnection(host, port, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        upstream.request(self.command, self.path, body or None, {**headers, "Host": f"{host}:{port}"})
        answer = upstream.getresponse()
        data = answer.read()
        upstream.close()
        return answer, data

    def _forward(self, body: bytes) -> None:
        answer, data = self._ask(body)
        skipped = ("content-length", "connection", "server", "date")
        self._answer(answer.status, data, {k: v for k, v in answer.getheaders() if k.lower() not in skipped})

    def _answer(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
