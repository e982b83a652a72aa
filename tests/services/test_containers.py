"""Where the tests take their containers from: nothing is loaded without an engine, and an engine is told what we mean."""

import json
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.services.containers import Container, NoContainerError, engine_lacks

ID = "c0ffee"


class Engine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """As much of Docker's API as one container needs. `refuses`: what it answers with 500."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), Api)
        self.asked: list[tuple[str, str, Any]] = []
        self.refuses = ""


class Api(BaseHTTPRequestHandler):
    server: Engine
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: Any) -> None:
        """Not on the screen of the tests."""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0].split("/", 2)[-1] if self.path.startswith("/v") else self.path[1:]
        self.server.asked.append((self.command, path, json.loads(body) if body else None))
        if self.server.refuses and path.endswith(self.server.refuses):
            self.reply(500, {"message": "no space left on device"})
        elif path == "version" or self.path == "/version":
            self.reply(200, {"ApiVersion": "1.47", "Version": "27.0"})
        elif path == "images/image:1/json":
            self.reply(200, {"Id": "sha256:1", "RepoTags": ["image:1"]})
        elif path == "containers/create":
            self.reply(201, {"Id": ID, "Warnings": []})
        elif path == f"containers/{ID}/json":
            self.reply(200, {"Id": ID, "State": {"Status": "running"}, "Config": {"Image": "x"}, "Image": "sha256:1"})
        else:
            self.reply(204, None)

    do_GET = do_POST = do_DELETE = do_HEAD = answer  # noqa: N815

    def reply(self, status: int, content: Any) -> None:
        body = b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    path = tmp_path_factory.mktemp("e") / "docker.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    with Engine(path) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "address", ["unix:///nonexistent/docker.sock", "tcp://127.0.0.1:1", "tcp://", "npipe:////./pipe/docker_engine"]
)
def test_without_an_engine_the_reason_is_said(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    assert (engine_lacks() or "").startswith(f"no Docker engine answers at {address} (")


def test_an_engine_that_listens_is_taken(engine: Engine) -> None:
    assert engine_lacks() is None


def test_without_an_engine_nothing_of_docker_is_imported() -> None:
    code = (
        "import sys, tests.services.conftest, tests.services.kafka_server as k;"
        "assert k.DockerKafka.lacks();"
        "assert not {'docker', 'testcontainers'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=60,
        env={"DOCKER_HOST": "unix:///nonexistent", "PATH": "/usr/bin:/bin"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_container_gets_its_environment_its_files_and_ports_of_this_machine_alone(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from testcontainers.core.config import testcontainers_config

    monkeypatch.setattr(testcontainers_config, "ryuk_disabled", True)  # it is a second container
    container = Container("image:1", environment={"A": "b"}, ports={9092: 19092}, files={tmp_path: "/etc/x"})
    container.start()
    assert container.status() == "running"
    container.tell("pause")
    container.remove()
    (made,) = [body for verb, path, body in engine.asked if path == "containers/create"]
    assert made["Image"] == "image:1"
    assert made["Env"] == ["A=b"]
    assert made["HostConfig"]["PortBindings"] == {"9092/tcp": [{"HostIp": "127.0.0.1", "HostPort": "19092"}]}
    assert made["HostConfig"]["Binds"] == [f"{tmp_path}:/etc/x:ro"]
    verbs = [(verb, path) for verb, path, _ in engine.asked if path.startswith(f"containers/{ID}") and verb != "GET"]
    assert verbs == [
        ("POST", f"containers/{ID}/start"),
        ("POST", f"containers/{ID}/pause"),
        ("DELETE", f"containers/{ID}"),
    ]
    engine.refuses = "create"
    with pytest.raises(NoContainerError, match=r"Docker did not start image:1: .*no space left"):
        Container("image:1", environment={}, ports={}).start()


def test_what_was_never_started_is_removed_without_an_engine() -> None:
    Container("image:1", environment={}, ports={}).remove()
