"""`aftermath rules check`: schema, fields and the tests inside the rule files."""

import argparse

from alerts.rules.files import SHIPPED, check_rules
from pipeline.settings import load_settings
from schemas.errors import UsageError


def run(args: argparse.Namespace) -> int:
    """Print each finding as file:line; 1 if there are any."""
    folder = args.folder or load_settings().rules_dir or SHIPPED
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: name the one that holds the rule files.")
    findings = check_rules(folder)
    for finding in findings:
        print(finding)
    print(
        f"{len(findings)} findings in {folder}" if findings else f"The rules in {folder} are right: their tests pass."
    )
    return 1 if findings else 0
