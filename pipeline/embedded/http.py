"""ClickHouse's HTTP interface in front of the embedded engine: what `clickhouse-connect`, `curl` and Grafana speak.

Requests come from this machine only, but a browser is on this machine too: so every request must name this host
(DNS rebinding), come from no foreign page (Origin), and carry a password. Answers are never compressed: they do not
travel. `database.py` runs the statements.
"""

import base64
import binascii
import email.parser
import email.policy
import gzip
import hmac
import io
import socket
import threading
import urllib.parse
import zlib
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Protocol

import cramjam
import orjson
import zstandard

from pipeline.embedded.statements import RefusedError

MAX_BODY_BYTES = 512 << 20  # after decompression
MAX_COMPRESSED_BYTES = 64 << 20
TIMEOUT_SECONDS = 60.0  # of a silent connection

STATUS_OF_CODE = {
    **dict.fromkeys((26, 27, 38, 41, 53, 62, 69, 70, 72, 73, 117, 131, 349, 456, 457, 469), 400),
    **dict.fromkeys((16, 36, 46, 47, 60, 81, 115), 404),
    **dict.fromkeys((164, 497, 516), 403),
    48: 501,
}
CONTENT_TYPES = {
    "JSON": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8",
    "CSVWithNames": "text/csv; charset=UTF-8",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
}


class Answer(Protocol):
    """What came of a statement."""

    @property
    def data(self) -> bytes: ...
    @property
    def format(self) -> str: ...
    @property
    def read_rows(self) -> int: ...
    @property
    def written_rows(self) -> int: ...


class Runner(Protocol):
    """The engine, as the server sees it. Called from several threads; raises RefusedError."""

    def run(self, body: bytes, options: Mapping[str, str], *, is_read_only: bool) -> Answer: ...


class EmbeddedServer(ThreadingHTTPServer):
    """Listens on 127.0.0.1, on a port the system chooses, and closes what is open when it ends."""

    daemon_threads = True

    def __init__(self, runner: Runner, passwords: Mapping[str, str], writer: str) -> None:
        self.runner, self.passwords, self.writer = runner, passwords, writer
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="embedded-database", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop listening, then cut the connections that are kept alive."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._lock:
            for connection in list(self._open):
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:  # the other side was faster
                    self._open.discard(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle of an answer is no news; anything else is."""
        import sys

        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "Aftermath", ""
    timeout = TIMEOUT_SECONDS
    disable_nagle_algorithm = True
    server: EmbeddedServer
    HOSTS: ClassVar[tuple[str, ...]] = ("127.0.0.1", "localhost")

    def do_GET(self) -> None:
        self._answer(is_read_only=True)  # as a server: GET never changes anything

    def do_POST(self) -> None:
        self._answer(is_read_only=False)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Not one line per request on the terminal of a demo."""

    def _answer(self, *, is_read_only: bool) -> None:
        self._is_read = False
        try:
            self._check_origin()
            path, _, query = self.path.partition("?")
            if path in ("/ping", "/replicas_status"):
                return self._send(200, b"Ok.\n", {"Content-Type": "text/plain"})
            options = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
            user = self._check_user(options)
            if path not in ("", "/"):
                return self._send(404, b"There is no page here: statements go to /, as `query` or as the body.\n", {})
            body = self._body()
            if (self.headers.get("Content-Type") or "").startswith("multipart/form-data"):
                body = self._form(body, options)
            first = options.pop("query", "").encode()
            is_read_only = is_read_only or user != self.server.writer
            found = self.server.runner.run(
                first + b"\n" + body if first and body else first or body, options, is_read_only=is_read_only
            )
        except RefusedError as refused:
            headers = {"X-ClickHouse-Exception-Code": str(refused.code), "Content-Type": "text/plain; charset=UTF-8"}
            self.close_connection = not self._is_read
            return self._send(STATUS_OF_CODE.get(refused.code, 500), f"{refused}\n".encode(), headers)
        summary = {"read_rows": str(found.read_rows), "written_rows": str(found.written_rows)}
        self._send(
            200,
            found.data,
            {
                "Content-Type": CONTENT_TYPES.get(found.format, "text/plain; charset=UTF-8"),
                "X-ClickHouse-Format": found.format,
                "X-ClickHouse-Summary": orjson.dumps(summary).decode(),
                "X-ClickHouse-Timezone": "UTC",
            },
        )

    def _send(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def _check_origin(self) -> None:
        port = self.server.server_address[1]
        hosts = {f"{host}:{port}" for host in self.HOSTS}
        if self.headers.get("Host", "") not in hosts:
            raise RefusedError(516, "AUTHENTICATION_FAILED", f"The request must be for the host 127.0.0.1:{port}.")
        origin = self.headers.get("Origin")
        if origin is not None and origin not in {f"http://{host}" for host in hosts}:
            raise RefusedError(516, "AUTHENTICATION_FAILED", "Pages of other sites cannot ask this database.")

    def _check_user(self, options: dict[str, str]) -> str:
        """Who asks, from the headers of ClickHouse, basic authentication or the query; all three as on a server."""
        user, password = self.headers.get("X-ClickHouse-User"), self.headers.get("X-ClickHouse-Key")
        scheme, _, encoded = (self.headers.get("Authorization") or "").partition(" ")
        if password is None and scheme.lower() == "basic":
            try:
                user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                password = None
        asked, given = options.pop("user", None), options.pop("password", None)
        user = user or asked or self.server.writer
        password = given if password is None else password
        wanted = self.server.passwords.get(user)
        if wanted is None or password is None or not hmac.compare_digest(wanted.encode(), password.encode()):
            shown = user[:64].encode("ascii", "replace").decode()
            raise RefusedError(
                516,
                "AUTHENTICATION_FAILED",
                f"{shown}: Authentication failed: the password is incorrect, or there is no user with such name; "
                "the one of this run stands in .aftermath/demo.json.",
            )
        return user

    def _body(self) -> bytes:
        if "chunked" in (self.headers.get("Transfer-Encoding") or "").lower():
            sent = b"".join(self._chunks())
        else:
            length = self.headers.get("Content-Length") or "0"
            if not length.isdigit() or int(length) > MAX_BODY_BYTES:
                raise RefusedError(
                    307, "TOO_MANY_BYTES", f"The body is larger than {MAX_BODY_BYTES} bytes; send it in parts."
                )
            sent = self.rfile.read(int(length))
        self._is_read = True
        encoding = (self.headers.get("Content-Encoding") or "").strip().lower()
        return unpack(sent, encoding) if encoding not in ("", "identity") else sent

    def _chunks(self) -> Any:
        left = MAX_BODY_BYTES
        while True:
            line = self.rfile.readline(1024).split(b";")[0].strip()
            try:
                size = int(line, 16)
            except ValueError:
                raise RefusedError(
                    117, "INCORRECT_DATA", f"The length of a chunk is no number: {line[:20]!r}."
                ) from None
            left -= size
            if left < 0 or size < 0:
                raise RefusedError(
                    307, "TOO_MANY_BYTES", f"The body is larger than {MAX_BODY_BYTES} bytes; send it in parts."
                )
            if size:
                yield self.rfile.read(size)
            while self.rfile.readline(1024).strip() and not size:
                pass  # trailers
            if not size:
                return

    def _form(self, body: bytes, options: dict[str, str]) -> bytes:
        """A form instead of a body: how long statements with many parameters come."""
        head = b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n"
        for part in email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body).iter_parts():
            if part.get_filename():
                raise RefusedError(
                    48, "NOT_IMPLEMENTED", "External tables do not work here; insert the rows into a table."
                )
            name = part.get_param("name", header="content-disposition")
            value: Any = part.get_payload(decode=True)
            options[str(name)] = value.decode("utf-8", "replace")
        return b""


def unpack(sent: bytes, encoding: str) -> bytes:
    """Undo the Content-Encoding, up to a limit."""
    if len(sent) > MAX_COMPRESSED_BYTES:
        raise RefusedError(
            307, "TOO_MANY_BYTES", f"The body is larger than {MAX_COMPRESSED_BYTES} bytes; send it in parts."
        )
    try:
        if encoding == "gzip":
            data = gzip.GzipFile(fileobj=io.BytesIO(sent)).read(MAX_BODY_BYTES + 1)
        elif encoding == "zstd":
            data = zstandard.ZstdDecompressor().stream_reader(sent, read_across_frames=True).read(MAX_BODY_BYTES + 1)
        elif encoding == "lz4":
            data = bytes(cramjam.lz4.decompress(sent))
        else:
            raise RefusedError(
                48, "NOT_IMPLEMENTED", f"Content-Encoding {encoding[:20]!r} is unknown; use gzip, zstd or lz4."
            )
    except (OSError, EOFError, zlib.error, zstandard.ZstdError, cramjam.DecompressionError) as error:
        raise RefusedError(354, "ZLIB_INFLATE_FAILED", f"The body is no {encoding}: {error}.") from None
    if len(data) > MAX_BODY_BYTES:
        raise RefusedError(307, "TOO_MANY_BYTES", f"The body is larger than {MAX_BODY_BYTES} bytes; send it in parts.")
    return data
