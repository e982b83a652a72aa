"""`aftermath roundup --week 2026-W47`: one document on stdout, or by e-mail with `--to RECEIVER`."""

import argparse
import asyncio
import sys
from datetime import timedelta

from pipeline.clock import now_micros
from pipeline.commands.connection import reading_client
from reports.roundup.build import Roundup, build
from reports.roundup.formats import FORMATS, TITLE
from schemas.errors import DependencyError, UsageError
from schemas.times import to_datetime


def run(args: argparse.Namespace) -> int:
    """Write it, or send it."""
    now = now_micros()
    week = args.week or f"{to_datetime(now) - timedelta(weeks=1):%G-W%V}"
    with reading_client() as client:
        document = build(client, week)
    if args.to is None:
        sys.stdout.write(FORMATS[args.format](document))
    else:
        print(f"{args.to}: {_sent(args.to, document, now)}")
    return 0


def _sent(name: str, document: Roundup, now: int) -> str:
    """What the receiver answered. Raises UsageError where it carries no document, DependencyError where it refuses."""
    from alerts.receivers import build as receivers_of
    from alerts.receivers.email import EmailReceiver
    from pipeline.app import receiver_configs
    from pipeline.settings import load_settings

    receiver = receivers_of(receiver_configs(load_settings()), now=lambda: now).get(name)
    if not isinstance(receiver, EmailReceiver):
        raise UsageError(f"--to {name}: there is no receiver of that name and of kind email; see AFTERMATH_RECEIVERS.")
    title = f"{TITLE} {document.week}"
    key = f"roundup-{document.week}-{document.catalogue}"
    sending = receiver.send_document(title, FORMATS["md"](document), FORMATS["html"](document), key, now)
    delivery = asyncio.run(sending)
    if not delivery.ok:
        raise DependencyError(f"The roundup was not sent: {delivery.detail}.")
    return delivery.detail
