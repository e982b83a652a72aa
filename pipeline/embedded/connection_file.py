"""`.aftermath/demo.json`: where broker and database of this run are, so that a second terminal can ask them.

It holds the passwords of this run, so only its owner may read it; it is removed when the run ends.
"""

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from pipeline.embedded.database import Database
from schemas.errors import UsageError

DEFAULT_PATH = Path(".aftermath/demo.json")


@dataclass(frozen=True, slots=True)
class Connection:
    """What the file says."""

    kafka: str
    clickhouse_url: str
    user: str
    password: str = field(repr=False)
    analyst: str
    analyst_password: str = field(repr=False)
    pid: int


def write_connection_file(path: Path, broker: str, database: Database) -> Connection:
    """Write the file, mode 0600 from its first byte on; an older one is replaced."""
    connection = Connection(
        kafka=broker,
        clickhouse_url=database.url,
        user=database.user,
        password=database.password,
        analyst=database.analyst,
        analyst_password=database.analyst_password,
        pid=os.getpid(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(connection), file, indent=2)
        file.write("\n")
    draft.replace(path)
    return connection


def read_connection_file(path: Path = DEFAULT_PATH) -> Connection:
    """Raises UsageError where there is no such file or it is not ours."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        raise UsageError(f"There is no {path}: start `aftermath demo` in this directory, or set AFTERMATH_*.") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({error}): delete it and start `aftermath demo` again.") from None
    names = {item.name for item in fields(Connection)}
    if not isinstance(found, dict) or set(found) != names:
        raise UsageError(f"{path} is not from this version: delete it and start `aftermath demo` again.")
    return Connection(**found)


def remove_connection_file(path: Path) -> None:
    """Take the file away at the end of the run. One that another run has written since stays."""
    try:
        if read_connection_file(path).pid != os.getpid():
            return
    except UsageError:
        return
    path.unlink(missing_ok=True)
