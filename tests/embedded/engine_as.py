"""The embedded engine as a user with roles: a process of its own, for an engine takes its users when it starts.

chDB runs every statement as `default` and keeps no roles made by SQL, but it reads users, roles, profiles and row filters
from a file. So `users_xml` writes what roles.sql says as such a file, in which `default` is a user with one of its roles.
Quotas are read, but not counted here.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

GRANT = re.compile(r"(GRANT|REVOKE) (.*) (?:TO|FROM) (\w+)", re.DOTALL)
POLICY = re.compile(r"POLICY IF NOT EXISTS \w+ ON (\w+)\.(\w+) FOR SELECT USING (.*?) TO (\w+)$", re.DOTALL)
SETTING = re.compile(r"(\w+) = ('\w+'|\w+)(?: MIN (\d+) MAX (\d+)| (CONST))?")
SECONDS = 120


def users_xml(statements: Sequence[str], role: str, profile: str, path: Path) -> str:
    """The file, in which the user has this role and profile; an empty role may do everything, an empty profile is default."""
    found = ["\n".join(line for line in text.splitlines() if not line.startswith("--")).strip() for text in statements]
    roles: dict[str, list[str]] = {
        name: [] for text in found for name in re.findall(r"^CREATE ROLE IF NOT EXISTS (\w+)$", text)
    }
    for match in filter(None, map(GRANT.fullmatch, found)):
        roles[match[3]].append(f"{match[1]} {match[2]}")
    filters = "".join(
        f"<{table}><filter>{escape(using)}</filter></{table}>"
        for database, table, using, to in (match.groups() for match in map(POLICY.search, found) if match)
        if to == role
    )
    profiles = "".join(
        _profile(match[1], text)
        for text in found
        if (match := re.match(r"CREATE SETTINGS PROFILE IF NOT EXISTS (\w+)", text))
    )
    granted = f"<grants><query>GRANT {role}</query></grants>" if role else "<access_management>1</access_management>"
    made = "".join(
        f"<{name}><grants>{''.join(f'<query>{one}</query>' for one in all_)}</grants></{name}>"
        for name, all_ in roles.items()
    )
    return f"""<clickhouse>
<user_directories><users_xml><path>{path}</path></users_xml></user_directories>
<users><default><password></password><networks><ip>::/0</ip></networks><quota>default</quota>
<profile>{profile or "default"}</profile>{granted}
<databases><aftermath>{filters}</aftermath></databases></default></users>
<roles>{made}</roles><profiles><default/>{profiles}</profiles><quotas><default/></quotas></clickhouse>"""


def _profile(name: str, text: str) -> str:
    settings, bounds = "", ""
    for setting, value, least, most, const in SETTING.findall(text.split("SETTINGS", 2)[2]):
        value = value.strip("'")
        settings += f"<{setting}>{value}</{setting}>"
        if most:
            bounds += f"<{setting}><min>{least}</min><max>{most}</max></{setting}>"
        if const:
            bounds += f"<{setting}><readonly/></{setting}>"
    return f"<{name}>{settings}<constraints>{bounds}</constraints></{name}>"


def run_as(role: str, profile: str, folder: Path, roles: Sequence[str], statements: Sequence[str]) -> list[str]:
    """The answer of each statement as JSON lines, or `Code: N...` where it was refused."""
    config = folder.parent / "users.xml"
    return run(users_xml(roles, role, profile, config), config, folder, statements)


def run(configuration: str, config: Path, folder: Path, statements: Sequence[str]) -> list[str]:
    """The same with any configuration of the engine, which is written to `config`."""
    config.write_text(configuration)
    done = subprocess.run(
        [sys.executable, "-m", "tests.embedded.engine_as", str(folder), str(config)],
        input=json.dumps(statements),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers: list[str] = json.loads(done.stdout.splitlines()[-1])
    return answers


def main(folder: str, config: str) -> None:
    """Run the statements on standard input one by one."""
    from chdb import _chdb

    connection = _chdb.connect(f"{folder}?config-file={config}")
    answers = []
    for statement in json.load(sys.stdin):
        try:
            found = connection.query(statement, "JSONEachRow", params={})
            answers.append(bytes(found.bytes()).decode())
        except RuntimeError as error:
            answers.append(re.sub(r"(?s)^.*?(Code: \d+)", r"\1", str(error)))
    print(json.dumps(answers), flush=True)
    os._exit(0)  # an engine with replicated tables does not end by itself


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
