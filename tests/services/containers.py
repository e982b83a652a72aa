"""Containers for tests, by testcontainers. It is imported only where an engine answers: elsewhere it costs nothing."""

import os
import socket
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SOCKET = "unix:///var/run/docker.sock"
ANSWER_SECONDS = 5.0


class NoContainerError(Exception):
    """The engine does not start it, or does not do what it is told."""


def engine_lacks() -> str | None:
    """Why there is no Docker engine; None where one listens."""
    address = os.environ.get("DOCKER_HOST") or SOCKET
    parts = urllib.parse.urlsplit(address)
    is_local = parts.scheme == "unix"
    where: Any = parts.path if is_local else (parts.hostname, parts.port)
    try:
        with socket.socket(socket.AF_UNIX if is_local else socket.AF_INET) as asked:
            asked.settimeout(ANSWER_SECONDS)
            asked.connect(where)
    except (OSError, TypeError) as error:
        return f"no Docker engine answers at {address} ({getattr(error, 'strerror', None) or 'no address'})"
    return None


class Container:
    """One container, gone when it is removed, or with the process that made it. Every method raises NoContainerError."""

    def __init__(
        self,
        image: str,
        *,
        environment: Mapping[str, str],
        ports: Mapping[int, int],
        files: Mapping[Path, str] | None = None,
    ) -> None:
        """ports: of the container -> of 127.0.0.1. files: of this machine -> where the container reads them."""
        self.image, self.environment, self.ports, self.files = image, environment, ports, files or {}
        self._made: Any = None

    def start(self) -> None:
        """Make and start it; the image is fetched where it is not there."""
        from testcontainers.core.container import DockerContainer

        with _told(f"start {self.image}"):
            made = DockerContainer(self.image).with_envs(**self.environment)
            for inside, outside in self.ports.items():
                made.ports[str(inside)] = ("127.0.0.1", outside)  # with_bind_ports would open it to the network
            for source, target in self.files.items():
                made.with_volume_mapping(source, target, "ro")
            self._made = made
            made.start()

    def tell(self, verb: str) -> None:
        """start, stop, kill, pause or unpause."""
        with _told(verb):
            getattr(self._made.get_wrapped_container(), verb)()

    def status(self) -> str:
        """running, paused, exited, ..."""
        with _told("inspect"):
            container = self._made.get_wrapped_container()
            container.reload()
            return str(container.status)

    def remove(self) -> None:
        """With its volumes; nothing where it was never started."""
        if self._made is not None:
            with _told("remove"):
                self._made.stop(force=True, delete_volume=True)


class _told:  # noqa: N801 - reads as a word of the language
    """Errors of the engine as ours."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        from docker.errors import DockerException
        from testcontainers.core.exceptions import ContainerStartException

        if isinstance(error, DockerException | ContainerStartException | OSError):
            raise NoContainerError(f"Docker did not {self._what}: {str(error)[-500:]}") from None
