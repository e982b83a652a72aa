"""The `aftermath` command: its words, and nothing else. What each does stands in pipeline/commands/.

Imports of a command happen when it runs, so that `--help` answers at once. Errors are one sentence that says what to
do, never a traceback. Exit codes: 0 done, 1 findings, 2 usage, 3 a dependency is down; `run` has those of app.py.
"""

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from schemas.errors import AftermathError, Reason

EPILOG = "Begin with `aftermath demo`. Every reading command takes --json."


def parser() -> argparse.ArgumentParser:
    """All commands and their arguments."""
    top = argparse.ArgumentParser(
        prog="aftermath",
        description="Watches AI agents in production: did the agent break it, what did it not know, "
        "which limit would have stopped it?",
        epilog=EPILOG,
    )
    top.add_argument("-v", "--verbose", action="store_true", help="log what happens, on stderr")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="everything embedded: plays a recorded story and prints its incidents")
    demo.add_argument("--exit", action="store_true", help="end when the story is over (the default off a terminal)")
    demo.add_argument("--json", action="store_true", help="one JSON document on stdout; logs on stderr; implies --exit")
    demo.add_argument("--speed", type=_positive, metavar="X", help="times real time; default: as fast as it goes")
    demo.add_argument("--seed", type=int, default=7, help="seed of the generated story (default 7)")
    demo.add_argument(
        "--web", type=int, default=8420, metavar="PORT", help="port of the live page (default 8420; 0: any)"
    )
    demo.add_argument("--save", type=Path, metavar="DIR", help="only write the story's input as JSON lines to DIR")

    run = commands.add_parser("run", help="workers against the configured Kafka and ClickHouse")
    run.add_argument(
        "--stage", action="append", metavar="S", help="ingest, detect, correlate, record, archive, notify; repeat"
    )
    run.add_argument("--recorded", action="store_true", help="the topics hold recorded data (written by publish)")
    run.add_argument(
        "--web", type=int, nargs="?", const=8420, metavar="PORT", help="serve the live page (default 8420)"
    )
    run.add_argument("--otlp", type=int, metavar="PORT", help="take OTLP over HTTP on this port (usual: 4318)")
    run.add_argument(
        "--embedded",
        action="store_true",
        help="with broker and ClickHouse in this process, to try it out; kept nowhere",
    )

    publish = commands.add_parser("publish", help="JSON lines to Kafka, as live events or --recorded")
    publish.add_argument("files", nargs="+", type=Path, metavar="FILE")
    publish.add_argument("--recorded", action="store_true", help="keep the recorded times")
    publish.add_argument("--speed", type=_positive, metavar="X", help="with --recorded: times real time")

    backtest = commands.add_parser("backtest", help="files through the same operators, without Kafka")
    backtest.add_argument("files", nargs="+", type=Path, metavar="FILE")
    backtest.add_argument("--out", type=Path, metavar="DIR", help="writes signals, incidents and revisions (.jsonl)")
    backtest.add_argument("--limits", type=Path, metavar="FILE", help="limits.yml in force")
    backtest.add_argument("--against", type=Path, metavar="DIR", help="compare with an earlier --out")
    backtest.add_argument("--show", action="store_true", help="each incident in full, as `incidents show` prints it")
    backtest.add_argument("--json", action="store_true", help="one JSON document on stdout")

    replay = commands.add_parser("replay", help="stored events through today's detectors, into a set of its own")
    replay.add_argument("--from", dest="since", required=True, metavar="T", help="append time, as 2026-03-02T14:00:00Z")
    replay.add_argument("--to", dest="until", required=True, metavar="T", help="until then, excluded")
    replay.add_argument(
        "--source",
        choices=("tables", "kafka"),
        default="tables",
        help="the raw tables (default), or the topics on Kafka",
    )
    replay.add_argument("--limits", type=Path, metavar="FILE", help="limits.yml in force; default: the configured one")
    replay.add_argument("--out", type=Path, metavar="DIR", help="writes signals, incidents and revisions (.jsonl)")
    replay.add_argument(
        "--against", type=Path, metavar="DIR", help="compare with an earlier --out; else with what is stored"
    )
    replay.add_argument("--json", action="store_true", help="one JSON document on stdout")

    incidents = commands.add_parser("incidents", help="read incidents, and say that one is in hand")
    reading = incidents.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = reading.add_parser("list", help="newest first")
    listing.add_argument("--open", action="store_true", help="only open ones")
    listing.add_argument("--limit", type=int, default=50, metavar="N")
    for name, text in (("show", "one incident, for a person"), ("timeline", "what happened in it, in order")):
        one = reading.add_parser(name, help=text)
        one.add_argument("incident_id", metavar="ID", help="the id, or its first characters")
    ack = reading.add_parser("ack", help="say that you have it: it is not repeated, and others see who")
    ack.add_argument("incident_id", metavar="ID", help="the id, or its first characters")
    ack.add_argument("--by", metavar="NAME", help="who; default: the user of this machine")
    ack.add_argument("--comment", default="", metavar="TEXT", help="what you do about it")
    mark = reading.add_parser("mark", help="whether it was worth being woken for; the roundup counts it by rule")
    mark.add_argument("incident_id", metavar="ID", help="the id, or its first characters")
    mark.add_argument("mark", choices=("useful", "noise"))
    mark.add_argument("--by", default="", metavar="WHO", help="who says so, as user:mo")
    for each in reading.choices.values():
        each.add_argument("--json", action="store_true")

    silence = commands.add_parser("silence", help="hold back alerts for a time, where there are routes")
    silencing = silence.add_subparsers(dest="action", required=True, metavar="ACTION")
    adding = silencing.add_parser("add", help="prints the id")
    adding.add_argument("matchers", nargs="+", metavar="MATCHER", help="""'scope="prod-eu/checkout"', 'owner=~"a|b"'""")
    adding.add_argument("--for", dest="length", required=True, metavar="TIME", help="30m, 2h, 1d")
    adding.add_argument("--comment", required=True, metavar="TEXT", help="why")
    adding.add_argument("--by", metavar="NAME", help="who; default: the user of this machine")
    adding.add_argument("--tenant", metavar="T", help="whose alerts; default: the configured tenant")
    showing = silencing.add_parser("list", help="those in force and to come")
    showing.add_argument("--expired", action="store_true", help="those that are over, too")
    showing.add_argument("--json", action="store_true")
    ending = silencing.add_parser("expire", help="end one now")
    ending.add_argument("silence_id", metavar="ID", help="the id, or its first characters")

    tail = commands.add_parser("tail", help="what agents do, what systems do and incidents, as they happen")
    tail.add_argument("--scope", metavar="S", help="only resources whose name begins so: cluster, or cluster/namespace")
    tail.add_argument("--agent", metavar="A", help="only this agent")
    tail.add_argument(
        "--since", metavar="T", help="what was written since: 10m, 2h, an RFC 3339 time, or start; default: from now on"
    )
    tail.add_argument("--once", action="store_true", help="end where the log ends now")

    trail = commands.add_parser("trail", help="how one change came about, from prompt to mutation, and what followed")
    trail.add_argument("what", metavar="RESOURCE|ACTION", help="cluster/namespace/kind/name, or the action's span id")
    trail.add_argument("--json", action="store_true")

    whatif = commands.add_parser(
        "whatif", help="which limit would have stopped an incident, and what else it would stop"
    )
    whatif.add_argument("incident_id", metavar="ID", help="the id, or its first characters")
    whatif.add_argument("--steps", type=_count, default=50, metavar="N", help="the step limit to try (default 50)")
    whatif.add_argument("--repeats", type=_count, default=5, metavar="N", help="the cap on equal calls (default 5)")
    whatif.add_argument(
        "--tokens", type=_count, default=1_000_000, metavar="N", help="tokens a session (default 1000000)"
    )
    whatif.add_argument("--days", type=_count, default=7, metavar="N", help="of healthy sessions (default 7)")
    whatif.add_argument("--json", action="store_true")

    postmortem = commands.add_parser(
        "postmortem", help="the postmortem of an incident; or verify FILE: ask it all again"
    )
    postmortem.add_argument("words", nargs="+", metavar="ID | verify FILE", help="the id, or its first characters")
    postmortem.add_argument("--format", choices=("md", "html", "json"), default="md", help="default: md")

    roundup = commands.add_parser("roundup", help="the weekly roundup: metrics, drift, security and governance")
    roundup.add_argument("--week", metavar="W", help="the ISO week, as 2026-W47; default: the last whole one")
    roundup.add_argument("--format", choices=("md", "html", "json"), default="md", help="default: md")
    roundup.add_argument("--to", metavar="RECEIVER", help="send it, as text and HTML, by a receiver of kind email")

    lint = commands.add_parser("lint", help="what a postmortem must not say: money, words that sell, blame")
    lint.add_argument("files", nargs="+", type=Path, metavar="FILE")
    lint.add_argument("--words", type=Path, metavar="YAML", help="another list; default: reports/lint.yml")

    rules = commands.add_parser("rules", help="alert rules")
    checking = rules.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in (("check", "schema, fields, and the tests inside the files"), ("test", "how many tests hold")):
        check = checking.add_parser(name, help=text)
        check.add_argument(
            "folder", nargs="?", type=Path, metavar="DIR", help="default: the configured or shipped rules"
        )
    trying = checking.add_parser("backtest", help="pages a day, and what would be new and gone; 1 where anything is")
    trying.add_argument("rules", type=Path, metavar="RULES", help="the folder of rules to try")
    trying.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="events, or the revisions of backtest --out"
    )
    trying.add_argument("--against", type=Path, metavar="DIR", help="default: the rules in force")
    trying.add_argument("--routes", type=Path, metavar="FILE", help="routes.yml; default: rules name their receivers")
    trying.add_argument("--limits", type=Path, metavar="FILE", help="limits.yml in force, for events")
    trying.add_argument("--json", action="store_true")

    control = commands.add_parser("control", help="the circuit breaker: pause, inspect, resume, halt an agent")
    acting = control.add_subparsers(dest="action", required=True, metavar="ACTION")
    acting.add_parser("list", help="which agents are held").add_argument("--json", action="store_true")
    for name, text in (
        ("pause", "hold its calls for a while"),
        ("halt", "hold its calls until it is resumed"),
        ("resume", "let it go on"),
        ("inspect", "what holds it, its last steps, what it read, its open incidents"),
    ):
        one = acting.add_parser(name, help=text)
        one.add_argument("agent", metavar="AGENT")
        if name == "inspect":
            one.add_argument("--json", action="store_true")
            continue
        one.add_argument("--why", required=name != "resume", metavar="TEXT", help="shown to the service, kept for ever")
        one.add_argument("--version", metavar="V", help="only this version of it")
        one.add_argument("--tool", metavar="T", help="only calls of this tool")
        one.add_argument("--target", metavar="R", help="only calls on this resource")
        one.add_argument("--incident", metavar="ID", help="the incident it is about: it stands on its timeline")
        one.add_argument("--author", metavar="WHO", help="default: who is logged in")
        if name == "pause":
            one.add_argument("--for", dest="span", default="10m", metavar="SPAN", help="30s, 10m, 2h; default 10m")
    for each in acting.choices.values():
        each.add_argument("--tenant", metavar="T", help="whose agent; default: AFTERMATH_TENANT")

    limits = commands.add_parser("limits", help="what agents may do: publish limits.yml to the workers")
    versions = limits.add_subparsers(dest="action", required=True, metavar="ACTION")
    giving = versions.add_parser("publish", help="check the file, publish what is new in it")
    giving.add_argument("file", nargs="?", type=Path, metavar="FILE", help="default: AFTERMATH_LIMITS_FILE")
    versions.add_parser("show", help="the versions that are published").add_argument("--json", action="store_true")

    letters = commands.add_parser(
        "dead-letters", help="messages that could not be read: list them, send them once more"
    )
    sending = letters.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in (
        ("list", "by topic and reason"),
        ("replay", "to where they came from, each once, with a row in dead_letter_replays"),
    ):
        one = sending.add_parser(name, help=text)
        one.add_argument("--topic", metavar="T", help="only those of this topic, as agent.traces.v1")
        one.add_argument("--reason", metavar="R", choices=[str(reason) for reason in Reason], help="only these")
        one.add_argument("--json", action="store_true", help="one JSON document on stdout")
        if name == "replay":
            one.add_argument("--why", default="", metavar="TEXT", help="what was mended; needed")
            one.add_argument("--by", default="", metavar="WHO", help="who replays; default: the login name")
            one.add_argument("--most", type=_count, default=1_000, metavar="N", help="default 1000")
            one.add_argument("--again", action="store_true", help="also those that were replayed before")

    setup = commands.add_parser("setup", help="create topics and ClickHouse tables")
    setup.add_argument("--check", action="store_true", help="change nothing; exit 1 if something is missing")
    commands.add_parser("doctor", help="what is configured, what answers, and what to do about the rest").add_argument(
        "--json", action="store_true"
    )
    return top


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 10**12:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, not {text!r}")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    args = parser().parse_args(arguments)
    from pipeline import logs  # `--help` need not wait for it

    level = logging.INFO if args.verbose or args.command == "run" else logging.WARNING
    logs.configure(level)
    if not args.verbose:
        for name in ("urllib3.connectionpool", "clickhouse_connect"):  # we say ourselves what is down
            logging.getLogger(name).setLevel(logging.CRITICAL)
        for name in ("faust", "mode", "aiokafka", "pipeline.transport"):  # 150 lines a start
            logging.getLogger(name).setLevel(logging.WARNING)
    try:
        found = importlib.import_module(f"pipeline.commands.{args.command.replace('-', '_')}").run(args)
        return int(found)
    except AftermathError as error:
        print(f"aftermath: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()  # the reader went away: nothing left to say
        return 0
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
