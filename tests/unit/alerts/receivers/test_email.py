"""E-mail against a relay on this machine that speaks SMTP and answers as it is told."""

import asyncio
import email
import email.policy
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import Any, cast

import pytest

from alerts.receivers import Receiver, ReceiverConfig, build
from alerts.receivers.email import EmailReceiver
from schemas.errors import ConfigurationError
from tests.unit.alerts.receivers.telling import INCIDENT, NOW, OVER, PAGES, WORST, firing, golden, others, resolved


class Relay:
    """Takes mail; `answers` replaces the answer to a command, by its first letters."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.answers: dict[str, str] = {}
        self.commands: list[str] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 relay\r\n")
        while line := (await reader.readline()).decode().strip():
            self.commands.append(line)
            said = next((answer for start, answer in self.answers.items() if line.upper().startswith(start)), None)
            if said == "hang up":
                break
            if said == "say nothing":
                await reader.read()
                break
            if line.upper().startswith("EHLO"):
                writer.write((said or "250-relay\r\n250 SIZE 1000000").encode() + b"\r\n")
            elif line.upper() == "DATA" and said is None:
                writer.write(b"354 go on\r\n")
                raw = (await reader.readuntil(b"\r\n.\r\n"))[:-3]
                parsed = email.message_from_bytes(raw.replace(b"\r\n..", b"\r\n."), policy=email.policy.SMTP)
                self.mails.append(cast(EmailMessage, parsed))
                writer.write(b"250 taken\r\n")
            else:
                writer.write((said or ("221 bye" if line.upper() == "QUIT" else "250 ok")).encode() + b"\r\n")
            await writer.drain()
        writer.close()


@asynccontextmanager
async def listening(relay: Relay) -> AsyncIterator[int]:
    async with await asyncio.start_server(relay.talk, "127.0.0.1", 0, limit=2**22) as server:
        yield server.sockets[0].getsockname()[1]


def receiver(port: int, **changes: Any) -> Receiver:
    config = {
        "kind": "email",
        "url": f"smtp://127.0.0.1:{port}",
        "sender": "aftermath@example.com",
        "recipients": ["on-call@example.com", "lead@example.com"],
        "allow_private": True,
        "timeout_seconds": 5,
    }
    return build({"there": ReceiverConfig.model_validate(config | changes)}, now=lambda: NOW, pages=PAGES)["there"]


def text_of(mail: EmailMessage) -> str:
    headers = "".join(f"{name}: {value}\n" for name, value in mail.items())
    return f"{headers}\n{mail.get_content()}".replace("\r\n", "\n")


async def test_a_mail_is_what_on_call_reads_at_night_and_its_end_answers_it() -> None:
    relay = Relay()
    async with listening(relay) as port:
        there = receiver(port)
        assert (await there.send(firing(), INCIDENT)).ok
        assert (await there.send(resolved(), OVER)).ok
    first, last = relay.mails
    assert text_of(first) == golden("email.firing.txt", text_of(first))
    assert text_of(last) == golden("email.resolved.txt", text_of(last))
    assert last["In-Reply-To"] == first["Message-ID"] != last["Message-ID"]


async def test_nothing_in_an_incident_adds_a_header_or_a_recipient() -> None:
    relay = Relay()
    async with listening(relay) as port:
        assert (await receiver(port).send(firing(WORST), WORST)).ok
    (mail,) = relay.mails
    assert mail["Bcc"] is None
    assert len(mail["Subject"]) <= 200
    assert [line for line in relay.commands if line.upper().startswith("RCPT")] == [
        "rcpt TO:<on-call@example.com>",
        "rcpt TO:<lead@example.com>",
    ]


@pytest.mark.parametrize(
    ("command", "answer", "is_transient", "says"),
    [
        ("MAIL", "451 later", True, "refused the mail (SMTP 451)"),
        ("MAIL", "550 not you", False, "refused the mail (SMTP 550)"),
        ("RCPT", "450 busy", True, "for none of the recipients (SMTP 450)"),
        ("RCPT", "550 unknown", False, "for none of the recipients (SMTP 550)"),
        ("DATA", "554 no", False, "refused the mail (SMTP 554)"),
        ("MAIL", "hang up", True, "the conversation failed"),
    ],
)
async def test_what_a_relay_answers_is_judged(command: str, answer: str, is_transient: bool, says: str) -> None:
    relay = Relay()
    relay.answers[command] = answer
    async with listening(relay) as port:
        delivery = await receiver(port).send(firing(), INCIDENT)
    assert (delivery.ok, delivery.is_transient) == (False, is_transient)
    assert says in delivery.detail


async def test_a_relay_that_says_nothing_is_left_after_the_time_out() -> None:
    relay = Relay()
    relay.answers["MAIL"] = "say nothing"
    async with listening(relay) as port:
        began = time.monotonic()
        delivery = await receiver(port, timeout_seconds=0.3).send(firing(), INCIDENT)
    assert (delivery.ok, delivery.is_transient) == (False, True)
    assert "the conversation failed" in delivery.detail
    assert time.monotonic() - began < 5


async def test_a_mail_is_no_larger_than_configured_and_says_what_was_cut() -> None:
    relay = Relay()
    async with listening(relay) as port:
        assert (await receiver(port, max_bytes=16_000).send(firing(WORST), WORST, others(9))).ok
    (mail,) = relay.mails
    text = mail.get_content()
    assert len(text.encode()) <= 16_000
    assert "…" in text


async def test_the_same_alert_twice_has_one_message_id() -> None:
    relay = Relay()
    async with listening(relay) as port:
        there = receiver(port)
        for _ in range(2):
            assert (await there.send(firing(), INCIDENT)).ok
    first, again = relay.mails
    assert first["Message-ID"] == again["Message-ID"]


async def test_one_recipient_that_is_refused_is_named_by_number() -> None:
    relay = Relay()
    relay.answers["RCPT TO:<LEAD"] = "550 unknown"
    async with listening(relay) as port:
        delivery = await receiver(port).send(firing(), INCIDENT)
    assert (delivery.ok, "not for 1 of 2 recipients" in delivery.detail) == (True, True)


async def test_a_password_never_goes_over_a_line_that_is_not_encrypted() -> None:
    relay = Relay()
    async with listening(relay) as port:
        there = receiver(port, url=f"smtp://me@127.0.0.1:{port}", secret="hunter2")
        delivery = await there.send(firing(), INCIDENT)
    assert (delivery.ok, delivery.is_transient) == (False, False)
    assert "offers neither STARTTLS nor a login" in delivery.detail
    assert not any("AUTH" in line for line in relay.commands)
    assert "hunter2" not in delivery.detail


async def test_a_relay_that_is_not_there_is_tried_again(unused_tcp_port: int) -> None:
    delivery = await receiver(unused_tcp_port).send(firing(), INCIDENT)
    assert (delivery.ok, delivery.is_transient) == (False, True)


async def test_a_relay_inside_is_refused_unless_allowed() -> None:
    relay = Relay()
    async with listening(relay) as port:
        delivery = await receiver(port, allow_private=False).send(firing(), INCIDENT)
    assert (delivery.ok, delivery.is_transient) == (False, False)
    assert "set allow_private" in delivery.detail
    assert relay.commands == []


@pytest.mark.parametrize("url", ["https://relay/", "smtp://", "smtp://me:hunter2@relay:25", "relay:25"])
def test_a_url_that_is_no_relay_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ConfigurationError, match="receiver there") as raised:
        receiver(1, url=url)
    assert "hunter2" not in str(raised.value)


async def test_a_document_goes_as_text_and_as_html_and_twice_under_one_name() -> None:
    relay = Relay()
    async with listening(relay) as port:
        there = receiver(port)
        assert isinstance(there, EmailReceiver)
        for _ in range(2):
            assert (
                await there.send_document(
                    "Weekly roundup 2026-W47", "# Week\n", "<h1>Week</h1>", "roundup-2026-W47", NOW
                )
            ).ok
    first, again = relay.mails
    assert (first["Subject"], first["Message-ID"]) == ("Weekly roundup 2026-W47", "<roundup-2026-W47@example.com>")
    assert first["Message-ID"] == again["Message-ID"]
    assert [part.get_content_type() for part in first.iter_parts()] == ["text/plain", "text/html"]
    plain, html = first.iter_parts()
    assert "# Week" in cast(EmailMessage, plain).get_content()
    assert "<h1>Week</h1>" in cast(EmailMessage, html).get_content()
