"""`aftermath lint FILE...`: what a document must not say, as file:line."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reports.incident import plain
from reports.lint import MARKDOWN, SHIPPED, Finding, lint, load_rules
from schemas.errors import UsageError


def run(args: argparse.Namespace) -> int:
    """Exit code 1 where anything was found."""
    rules = load_rules(args.words or SHIPPED)
    return max(
        print_findings(path, lint(read_text(path), rules, is_markdown=path.suffix.lower() in MARKDOWN))
        for path in args.files
    )


def read_text(path: Path) -> str:
    """The text of a file a person named."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text (byte {error.start}).") from error


def print_findings(path: Path, findings: Sequence[Finding]) -> int:
    """One line each on stdout, a line that sums up on stderr; the exit code."""
    for finding in findings:
        print(plain(f"{path}:{finding.line}: {finding.says}"))
    number = len(findings)
    print(f"{path}: {'nothing found' if not number else f'{number} found'}", file=sys.stderr)
    return 1 if findings else 0
