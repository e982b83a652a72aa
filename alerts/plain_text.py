"""Text from outside, made harmless for a line that a person reads.

Titles and summaries carry what agents and clusters wrote. An escape sequence could repaint the terminal, a
newline could fake a second page, a right-to-left mark could turn a name around: none of them reaches the
page. Markup is not escaped here: each receiver does that for its own format.
"""

import re
import unicodedata

# CSI and OSC sequences whole, so that their parameters do not stay behind as text; then any other escape pair
ANSI = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?|\x1b.?",
    re.DOTALL,
)
SPACES = re.compile(r"\s+")
UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs", "Cn"})  # controls, format marks, private use, surrogates, unassigned


def clip(text: str, length: int) -> str:
    """At most this many characters; an ellipsis shows that some are missing."""
    return text if len(text) <= length else text[: length - 1] + "…"


def plain(text: str, length: int = 500) -> str:
    """One line without control characters, at most `length` characters."""
    spaced = SPACES.sub(" ", ANSI.sub("", text[: 20 * length]))
    return clip("".join(sign for sign in spaced if unicodedata.category(sign) not in UNSEEN).strip(), length)
