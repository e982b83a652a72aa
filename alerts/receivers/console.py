"""The console: one readable block for each page, on a stream that is given.

Colour is left to the reader's terminal: nothing here writes an escape sequence, and `alerts.plain_text`
removes those that an agent has put into its texts.
"""

from collections.abc import Mapping
from typing import TextIO

from alerts import page
from alerts.outbox import Notification
from alerts.plain_text import plain
from alerts.receivers.receiver import Delivery
from alerts.rules.model import Rule
from schemas.incidents import Incident


class ConsoleReceiver:
    """Writes pages to a text stream. Not for production: nobody is woken."""

    def __init__(self, name: str, stream: TextIO, rules: Mapping[str, Rule]) -> None:
        self.name = name
        self._stream = stream
        self._rules = rules

    async def send(self, notification: Notification, incident: Incident) -> Delivery:
        """Write the block and flush it. A stream that is gone does not come back: that is permanent."""
        text = block(notification, incident, self._rules.get(notification.rule))
        encoding = self._stream.encoding or "utf-8"  # StringIO has none
        try:
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self._stream.flush()
        except OSError as error:
            return Delivery(False, f"the console cannot be written: {error.strerror or type(error).__name__}")
        except ValueError:  # what Python raises for a stream that was closed
            return Delivery(False, "the console is closed")
        return Delivery(True, "written")


def block(notification: Notification, incident: Incident, rule: Rule | None = None) -> str:
    """The page as text: a headline, the title, and one line for each thing to know."""
    rows = [f"  {label:<14}{text}" for label, text in page.lines(notification, incident, rule)]
    return "\n".join((page.headline(notification), f"  {plain(notification.title)}", *rows, "")) + "\n"
