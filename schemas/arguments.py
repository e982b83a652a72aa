"""The arguments of a call as a person reads them: `replicas 24, image cart:1.5` instead of JSON.

They may be cut anywhere, so this reads token by token and no further than the text goes; what it makes is for the eye
alone, never to be read back.
"""

import re
from collections.abc import Container

LONGEST = 80  # characters of all arguments
LONGEST_ONE = 40  # of one: what a file is to hold is no line
CUT = "…"
TOKEN = re.compile(r'"(?P<string>(?:[^"\\]|\\.)*)(?P<end>"?)|(?P<mark>[][{}:,])|(?P<plain>[^][{}:,"\s]+)', re.DOTALL)
ESCAPED = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
CALL = re.compile(r"(?P<call>[^{]*) (?P<given>\{.*) -> (?P<status>\w+)", re.DOTALL)
OPENS, CLOSES = {"{": "(", "[": "("}, {"}": ")", "]": ")"}


def pairs(given: str, known: Container[str] = ()) -> list[tuple[str, str]]:
    """Name and value of each argument of a JSON object, whole or cut; those without a value that is known already.

    Nested values stand in parentheses.
    """
    found: list[tuple[str, str]] = []
    depth, name, value = 0, "", ""
    is_name = True
    for token in TOKEN.finditer(given):
        text, mark = _text(token), token["mark"]
        if mark in OPENS:
            depth += 1
            value += OPENS[mark] if depth > 1 else ""
        elif mark in CLOSES:
            depth -= 1
            value += CLOSES[mark] if depth else ""
        elif mark == ":":
            value, is_name = (value + " ", is_name) if depth > 1 else ("", False)
        elif mark == "," and depth == 1:
            found.append((name, value))
            name, value, is_name = "", "", True
        elif mark == ",":
            value += ", "
        elif is_name:
            name = text
        else:
            value += text
    if not is_name:
        found.append((name, value if depth <= 0 else _marked(value)))
    return [(name, " ".join(value.split())) for name, value in found if value not in known]


def in_words(given: str | None, known: Container[str] = (), longest: int = LONGEST) -> str:
    """`replicas 24, image cart:1.5`: as many as fit into `longest` characters; what is no JSON object as it is."""
    if not given:
        return ""
    if not given.lstrip().startswith("{"):
        return clipped(given, longest)
    words = ""
    for name, value in pairs(given, known):
        more = f"{', ' if words else ''}{name} {clipped(value, LONGEST_ONE)}"
        if len(words) + len(more) > longest:
            return f"{words}, {CUT}" if words else clipped(more, longest)
        words += more
    return words


def call_in_words(told: str, target: str | None = None) -> str:
    """`tool {"replicas":24} -> ok` as `tool (replicas 24) -> ok`; any other text stays what it is."""
    call = CALL.fullmatch(told)
    if call is None:
        return told
    words = in_words(call["given"], {target or "", *(target or "").split("/")})
    return f"{call['call']}{f' ({words})' if words else ''} -> {call['status']}"


def clipped(text: str, longest: int) -> str:
    """The text on one line, at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1] + CUT


def _text(token: re.Match[str]) -> str:
    if token["string"] is None:
        return token["plain"] or ""
    text = ESCAPED.sub(_unescaped, token["string"])
    # JSON escapes a character beyond 16 bits as two; half of one, where it was cut, cannot be printed
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _unescaped(escape: re.Match[str]) -> str:
    code = escape[1]
    if len(code) == 5:
        return chr(int(code[1:], 16))
    return " " if code in "nrtbf" else code


def _marked(value: str) -> str:
    return value if value.endswith(CUT) else value + CUT
