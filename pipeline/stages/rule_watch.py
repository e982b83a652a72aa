"""Looks at the folder of alert rules: have they changed, and can they be used."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from alerts.rules.files import RuleFaultsError, load_rules
from alerts.rules.model import Rule
from schemas.errors import UsageError


@dataclass(frozen=True, slots=True)
class Changed:
    """Rules to use, or why those that are there cannot be."""

    rules: tuple[Rule, ...] = ()
    faults: tuple[str, ...] = ()


class RuleWatch:
    """`check` raises UsageError where rules that are right in themselves cannot be used here: receivers."""

    def __init__(self, folder: Path, check: Callable[[Sequence[Rule]], None]) -> None:
        self._folder = folder
        self._check = check
        self._seen = self._digest()

    def look(self) -> Changed | None:
        """What became of the files since the last look; None where they are as they were. Blocks."""
        digest = self._digest()
        if digest == self._seen:
            return None
        self._seen = digest
        try:
            rules = load_rules(self._folder)
            self._check(rules)
        except RuleFaultsError as error:
            return Changed(faults=error.faults)
        except UsageError as error:
            return Changed(faults=(str(error),))
        return Changed(rules=rules)

    def _digest(self) -> str:
        found = hashlib.sha256()
        try:
            for path in sorted(self._folder.iterdir()):
                if path.is_file():
                    found.update(f"{path.name}\0{path.stat().st_size}\0".encode())
                    found.update(path.read_bytes() if path.suffix == ".yml" else b"")
        except OSError as error:  # an editor replaces a file between two steps: the next look sees it
            found.update(str(error.errno).encode())
        return found.hexdigest()
