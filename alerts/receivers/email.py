"""E-mail by SMTP: one plain message for each notification.

`url` is the relay: smtp://user@host:587 (STARTTLS where the relay offers it, and always before a password is sent) or
smtps://user@host:465. Message-ID is made of the dedup key, so that a mail which is sent twice is shown once by most
readers; the end answers the beginning (In-Reply-To), so that both stand in one thread. Mail has no open and closed:
a subject that begins with RESOLVED is all there is.
"""

import asyncio
import smtplib
import socket
import ssl
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from yarl import URL

from alerts.outbox import Notification, dedup_key
from alerts.page import Pages, Told, fitted
from alerts.plain_text import clip
from alerts.receivers.addresses import PrivateAddressError, judged
from alerts.receivers.console import block
from alerts.receivers.receiver import Delivery, ReceiverConfig
from schemas.errors import ConfigurationError
from schemas.incidents import Incident
from schemas.times import to_datetime

PORTS = {"smtp": 587, "smtps": 465}
LONGEST_SUBJECT = 200


class EmailReceiver:
    """Sends through one relay; the secret is the password of the url's user."""

    resend_seconds = None
    can_renew = False

    def __init__(self, name: str, config: ReceiverConfig, pages: Pages) -> None:
        self.name = name
        self._config = config
        self._pages = pages
        try:
            self._url = URL(config.url.get_secret_value() if config.url else "")
            self._port = self._url.explicit_port or PORTS.get(self._url.scheme, 0)
        except ValueError:
            self._port = 0
        if not self._port or not self._url.host:
            raise ConfigurationError(f"receiver {name}: the url must be smtp://user@host:587 or smtps://user@host:465")
        if self._url.password is not None:
            raise ConfigurationError(f"receiver {name}: the password belongs into `secret`, not into the url")

    @property
    def urls(self) -> tuple[URL, ...]:
        return (self._url.with_port(self._port),)

    async def send(self, notification: Notification, incident: Incident, others: Told = ()) -> Delivery:
        """One conversation with the relay, in a thread."""
        return await self._sent(self._message(notification, incident, others))

    async def send_document(self, title: str, text: str, html: str, key: str, at: int) -> Delivery:
        """A document as text, and as HTML for readers that show it. key: names it, so that twice is shown once."""
        message = self._headed(title, key, at)
        message.set_content(text, cte="quoted-printable")
        message.add_alternative(html, subtype="html", cte="quoted-printable")
        return await self._sent(message)

    async def _sent(self, message: EmailMessage) -> Delivery:
        place = f"{self._url.host}:{self._port}"
        try:
            async with asyncio.timeout(self._config.timeout_seconds * 3):  # each step has the time-out of its own
                refused = await asyncio.to_thread(self._deliver, message)
        except PrivateAddressError as error:
            return Delivery(False, f"{place} is the private address {error}; set allow_private if that is meant")
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            return _refusal(f"{place} takes mail for none of the recipients", min(codes, default=500))
        except smtplib.SMTPAuthenticationError as error:
            return _refusal(f"{place} does not take user and password", error.smtp_code)
        except smtplib.SMTPResponseException as error:
            return _refusal(f"{place} refused the mail", error.smtp_code)
        except smtplib.SMTPNotSupportedError:
            return Delivery(False, f"{place} offers neither STARTTLS nor a login; use smtps:// or no user")
        except (smtplib.SMTPException, OSError, TimeoutError) as error:
            return Delivery(False, f"{place}: the conversation failed ({type(error).__name__})", is_transient=True)
        if refused:
            return Delivery(True, f"taken by {place}, but not for {refused} of {len(self._recipients)} recipients")
        return Delivery(True, f"taken by {place}")

    @property
    def _recipients(self) -> tuple[str, ...]:
        return self._config.recipients or ()

    def _message(self, notification: Notification, incident: Incident, others: Told) -> EmailMessage:
        page = self._pages.of(notification, incident, others)
        message = self._headed(f"{page.headline}: {page.title}", notification.dedup_key, notification.at)
        if notification.transition == "resolved":
            first = dedup_key(notification.rule, notification.incident_id, notification.receiver, "firing")
            message["In-Reply-To"] = message["References"] = self._id(first)
        text = fitted(page, lambda shorter: block(shorter).encode("utf-8", "replace"), self._config.max_bytes)
        message.set_content(text.decode(), cte="quoted-printable")
        return message

    def _headed(self, subject: str, key: str, at: int) -> EmailMessage:
        message = EmailMessage(policy=SMTP)
        message["Subject"] = clip(subject, LONGEST_SUBJECT)
        message["From"] = self._config.sender or ""
        message["To"] = ", ".join(self._recipients)
        message["Date"] = format_datetime(to_datetime(at))
        message["Message-ID"] = self._id(key)
        message["Auto-Submitted"] = "auto-generated"
        return message

    def _id(self, key: str) -> str:
        return f"<{key}@{(self._config.sender or '').rpartition('@')[2]}>"

    def _deliver(self, message: EmailMessage) -> int:
        """Blocks. How many recipients were refused; none taken at all is an exception."""
        secret = self._config.secret
        with self._connect() as relay:
            relay.ehlo()
            if self._url.scheme == "smtp" and (relay.has_extn("starttls") or secret is not None):
                relay.starttls(context=ssl.create_default_context())
                relay.ehlo()
            if secret is not None and self._url.user:
                relay.login(self._url.user, secret.get_secret_value())
            return len(relay.send_message(message, self._config.sender, list(self._recipients)))

    def _connect(self) -> smtplib.SMTP:
        kind = _CheckedTls if self._url.scheme == "smtps" else _Checked
        return kind(str(self._url.host), self._port, self._config.timeout_seconds, self._config.allow_private)


class _Checked(smtplib.SMTP):
    """Connects to the address that was judged, not to what the name leads to a moment later."""

    def __init__(self, host: str, port: int, seconds: float, allow_private: bool) -> None:
        self._allow_private = allow_private
        super().__init__(host, port, timeout=seconds)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return socket.create_connection((judged(host, port, self._allow_private), port), timeout)


class _CheckedTls(_Checked):
    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = super()._get_socket(host, port, timeout)
        return ssl.create_default_context().wrap_socket(plain, server_hostname=host)


def _refusal(what: str, code: int) -> Delivery:
    return Delivery(False, f"{what} (SMTP {code})", is_transient=400 <= code < 500)
