"""`aftermath roundup --week 2026-W47`: one document on stdout, or by e-mail with `--to RECEIVER`."""

import argparse
import asyncio
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

from pipeline.clock import now_micros
from pipeline.commands.connection import reading_client
from reports.roundup.build import Roundup, build
from reports.roundup.formats import FORMATS, TITLE
from schemas.errors import DependencyError, UsageError
from schemas.times import to_datetime

if TYPE_CHECKING:
    from alerts.receivers.email import EmailReceiver


def run(args: argparse.Namespace) -> int:
    """Write it, or send it."""
    now = now_micros()
    week = args.week or f"{to_datetime(now) - timedelta(weeks=1):%G-W%V}"
    receiver = None if args.to is None else _receiver(args.to, now)  # first: what cannot be sent need not be asked
    with reading_client() as client:
        document = build(client, week)
    if receiver is None:
        sys.stdout.write(FORMATS[args.format](document))
    else:
        print(f"{args.to}: {_sent(receiver, document, now)}")
    return 0


def _receiver(name: str, now: int) -> "EmailReceiver":
    """The receiver of that name. Raises UsageError where there is none that carries a document."""
    from alerts.receivers import build as receivers_of
    from alerts.receivers.email import EmailReceiver
    from pipeline.app import receiver_configs
    from pipeline.settings import load_settings

    receiver = receivers_of(receiver_configs(load_settings()), now=lambda: now).get(name)
    if not isinstance(receiver, EmailReceiver):
        raise UsageError(f"--to {name}: there is no receiver of that name and of kind email; see AFTERMATH_RECEIVERS.")
    return receiver


def _sent(receiver: "EmailReceiver", document: Roundup, now: int) -> str:
    """What the receiver answered. Raises DependencyError where it refuses."""
    title = f"{TITLE} {document.week}"
    key = f"roundup-{document.week}-{document.catalogue}"
    sending = receiver.send_document(title, FORMATS["md"](document), FORMATS["html"](document), key, now)
    delivery = asyncio.run(sending)
    if not delivery.ok:
        raise DependencyError(f"The roundup was not sent: {delivery.detail}.")
    return delivery.detail
