"""Stops reading before a bad deploy drains a topic into the dead letters.

Too many rejected messages are not the messages' fault: a schema was changed, a decoder is broken. Then the stage stops,
keeps its offsets, and somebody is told; nothing is lost. Two limits, of one partition: messages rejected in a row, and
the share of those in one minute of append time. Pure; time is that of the records.
"""

from dataclasses import dataclass

from schemas.codecs import Integers
from schemas.errors import AftermathError
from schemas.times import MINUTE

IN_A_ROW = 100
SHARE = 0.05
AT_LEAST = 100  # rejected in the minute: below this a share says little


class TooManyDeadLettersError(AftermathError):
    """Too much of what was read could not be read."""

    exit_code = 70


@dataclass(slots=True)
class RejectedWatch:
    """The counts of one partition."""

    source: str
    in_a_row: int = 0
    minute: int = -1
    read: int = 0
    rejected: int = 0

    def see(self, offsets: Integers, rejected: set[int], newest_ingest_time: int) -> None:
        """Count one batch. Raises TooManyDeadLettersError where a limit is passed."""
        minute = newest_ingest_time // MINUTE
        if minute != self.minute:
            self.minute, self.read, self.rejected = minute, 0, 0
        self.read += len(offsets)
        self.rejected += len(rejected)
        for offset in offsets if rejected else ():
            self.in_a_row = self.in_a_row + 1 if offset in rejected else 0
            if self.in_a_row > IN_A_ROW:
                self._stop(f"more than {IN_A_ROW} messages in a row cannot be read, up to offset {offset}")
        if not rejected:
            self.in_a_row = 0
        if self.rejected > AT_LEAST and self.rejected > SHARE * self.read:
            self._stop(f"{self.rejected} of {self.read} messages of one minute cannot be read")

    def _stop(self, what: str) -> None:
        raise TooManyDeadLettersError(
            f"{self.source}: {what}. Reading stopped and no offset was committed for them: look at dead_letters for"
            " the reason, mend the producer or the decoder, and restart."
        )
