"""The console: one readable block for each page, on a stream that is given.

Colour is left to the reader's terminal: nothing here writes an escape sequence, and `alerts.plain_text`
removes those that an agent has put into its texts.
"""

from typing import TextIO

from yarl import URL

from alerts.outbox import Notification
from alerts.page import Page, Pages, Told
from alerts.receivers.receiver import Delivery
from schemas.incidents import Incident


class ConsoleReceiver:
    """Writes pages to a text stream. Not for production: nobody is woken."""

    resend_seconds = None
    can_renew = False
    urls: tuple[URL, ...] = ()

    def __init__(self, name: str, stream: TextIO, pages: Pages) -> None:
        self.name = name
        self._stream = stream
        self._pages = pages

    async def send(self, notification: Notification, incident: Incident, others: Told = ()) -> Delivery:
        """Write the block and flush it. A stream that is gone does not come back: that is permanent."""
        text = block(self._pages.of(notification, incident, others)) + "\n"
        encoding = self._stream.encoding or "utf-8"  # StringIO has none
        try:
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self._stream.flush()
        except OSError as error:
            return Delivery(False, f"the console cannot be written: {error.strerror or type(error).__name__}")
        except ValueError:  # what Python raises for a stream that was closed
            return Delivery(False, "the console is closed")
        return Delivery(True, "written")


def block(page: Page) -> str:
    """The page as text: a headline, the title, and one line for each thing to know; e-mails are this, too."""
    rows = [f"  {label:<14}{text}" for label, text in page.lines]
    return "\n".join((page.headline, f"  {page.title}", *rows, *(f"  {text:<14}{url}" for text, url in page.links), ""))
