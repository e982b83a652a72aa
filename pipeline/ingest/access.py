"""What a tool call may do, where nobody has declared it: read, write, destructive or provision, by cautious guess.

A guess errs on the side of more: a name that says nothing is a write, so that the call can be a cause. `access_from` in
the attributes of a span tells a guess from a declaration, and `access` in limits.yml settles it for good.
"""

import re
from functools import lru_cache
from typing import Final

SHELLS: Final = frozenset(["bash", "shell", "sh", "terminal", "exec", "run_command", "execute_command", "run_shell"])


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


READS: Final = words(
    "get list read search find fetch query describe show view lookup look check count browse inspect explain grep glob "
    "select status stat head tail cat ls watch logs log diff compare retrieve load download ask calculate compute "
    "convert translate summarize summarise validate verify test ping resolve scan analyze analyse preview lint "
    "wikipedia weather duckduckgo google web knowledge docs documentation metrics info time date history think scroll "
    "hover navigate goto screenshot wait sleep"
)
DESTROYS: Final = words(
    "delete remove destroy drop purge truncate kill terminate wipe erase evict drain uninstall revoke rm rmdir reset "
    "shutdown halt force"
)
PROVISIONS: Final = words("create provision launch scale deploy spawn allocate install rollout resize start boot apply")
WRITES: Final = words(
    "update write set put post patch edit modify insert upsert add append send notify publish commit push merge move "
    "rename copy upload save store restart rollback assign approve cancel close open enable disable run execute call "
    "invoke submit book order pay transfer sync migrate import replace tag mark grant"
)
WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
LONGEST_NAME: Final = 200

READING_COMMANDS: Final = words(
    "awk basename cat cd cut date df diff dirname du echo false file find grep head id jq ls nl ps pwd "
    "readlink rg sleep sort stat tail test tr tree true type uname uniq wc which whoami"
)
READING_SUBCOMMANDS: Final = {
    "git": words("blame describe diff log ls-files merge-base rev-parse show status"),
    "bd": words("blocked doctor list ready search show stats"),
    "kubectl": words("get describe logs top explain version api-resources events"),
    "docker": words("ps logs inspect images stats"),
    "helm": words("list status get history show"),
}
DESTROYING_COMMANDS: Final = re.compile(
    r"(?:^|[\s;&|(])(?:rm|rmdir|shred|dd|mkfs|pkill|kill)\s|git\s+(?:reset\s+--hard|clean|push\s.*-f)"
    r"|kubectl\s+(?:\S+\s+)*?(?:delete|drain)\b|terraform\s+destroy|helm\s+uninstall"
)
PROVISIONING_COMMANDS: Final = re.compile(
    r"kubectl\s+(?:\S+\s+)*?(?:scale|create|run|apply)\b|terraform\s+apply|helm\s+(?:install|upgrade)"
)
WRITES_A_FILE: Final = re.compile(r"(?<![0-9&>])>{1,2}(?!&)\s*(?!/dev/null)\S|\bsed\s+-i|\bfind\b.*-(?:delete|exec)")
SEPARATORS: Final = re.compile(r"\|\||&&|[;|\n]")
ASSIGNMENT: Final = re.compile(r"^[A-Za-z_]\w*=\S*$")
LONGEST_COMMAND: Final = 10_000


def guess(tool_name: str, command: str | None) -> str:
    """The access of a call; `command` is the text of a shell command where the arguments have one."""
    if command is not None and tool_name.rsplit(".", 1)[-1].lower() in SHELLS:
        return access_of_command(command[:LONGEST_COMMAND])
    return access_of_name(tool_name)


@lru_cache(4096)
def access_of_name(tool_name: str) -> str:
    """By the verbs in the name: the worst that is there, else read where a word says so, else write."""
    found = {word.lower() for word in WORD.findall(tool_name[:LONGEST_NAME])}
    for access, verbs in (("destructive", DESTROYS), ("provision", PROVISIONS), ("write", WRITES), ("read", READS)):
        if found & verbs:
            return access
    return "write"


def access_of_command(command: str) -> str:
    """What a shell command may do: read only where every part of it is known to do no more."""
    if DESTROYING_COMMANDS.search(command):
        return "destructive"
    if PROVISIONING_COMMANDS.search(command):
        return "provision"
    if WRITES_A_FILE.search(command):
        return "write"
    for part in SEPARATORS.split(command):
        said = [word for word in part.split() if not ASSIGNMENT.match(word)]
        if not said or said[0].startswith("#"):
            continue
        name = said[0].rsplit("/", 1)[-1]
        subcommand = next((word for word in said[1:] if not word.startswith("-")), "")
        if name not in READING_COMMANDS and subcommand not in READING_SUBCOMMANDS.get(name, ()):
            return "write"
    return "read"
