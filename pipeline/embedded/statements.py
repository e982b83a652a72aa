"""What a statement is, and whether the embedded database takes it: a small lexer of ClickHouse's SQL, and the refusals.

chDB runs whatever its process may do: it reads local files, opens URLs, runs several statements in one text. A server
has grants against that; here the text decides, before the engine sees it. The lists are allow-lists: of everything the
engine knows as a table function, table engine or database engine, what is not named here is refused. This guards a
machine for trying out against a web page or a copied query; it does not make chDB safe for strangers.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

READING = frozenset({"SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "CHECK"})
WRITING = frozenset(
    {
        "INSERT",
        "CREATE",
        "DROP",
        "ALTER",
        "TRUNCATE",
        "RENAME",
        "EXCHANGE",
        "OPTIMIZE",
        "DELETE",
        "UPDATE",
        "SET",
        "USE",
    }
)
# In lower case, as all names here.
SAFE_TABLE_FUNCTIONS = frozenset(
    {
        *("numbers", "numbers_mt", "zeros", "zeros_mt", "primes", "generateseries", "generate_series"),
        *("values", "format", "generaterandom", "null", "input"),
        *("view", "viewexplain", "viewifpermitted", "merge", "loop", "mergetreeindex", "mergetreeprojection"),
    }
)
SAFE_TABLE_ENGINES = frozenset(
    {
        *("memory", "log", "tinylog", "stripelog", "null", "set", "join", "merge", "buffer"),
        *("view", "materializedview", "generaterandom"),
    }
)
ADMINISTERING = frozenset({"SYSTEM", "BACKUP", "RESTORE", "ATTACH", "DETACH", "KILL", "GRANT", "REVOKE", "UNDROP"})
SAFE_DATABASE_ENGINES = frozenset({"atomic", "memory"})
# Read files, or make the engine read the text in another language than this lexer does.
REFUSED_SETTINGS = re.compile(
    r"dialect|readonly|allow_ddl|format_schema.*|format_template.*|user_files_path|.*_path|allow_experimental_(kusto|prql)_.*",
    re.IGNORECASE,
)
IDENTIFIER_PARAMETER = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?")

# Where the engine's lexer may differ, nothing matches and the statement is refused: comments inside comments,
# `//`, and quotes or signs outside ASCII. Else a text could hide in what one of the two takes for a comment.
TOKEN = re.compile(
    rb"""
      (?P<space>[\s\0]+|--[^\n]*|\#[ !][^\n]*|/\*(?:(?!/\*).)*?\*/)
    | (?P<text>'(?:[^'\\]|\\.|'')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    | (?P<quoted>"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`)
    | (?P<word>[A-Za-z_][A-Za-z0-9_$]*)
    | (?P<number>[0-9][0-9A-Za-z_]*)
    | (?P<sign>[][(){}.,;:=<>!+*%?@^&|~-]|/(?![/*]))
    """,
    re.VERBOSE | re.DOTALL,
)


class RefusedError(Exception):
    """The statement is not run. `code` is ClickHouse's number for the reason."""

    def __init__(self, code: int, name: str, sentence: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {sentence} ({name})")
        self.code = code


def _denied(sentence: str) -> RefusedError:
    return RefusedError(
        497, "ACCESS_DENIED", f"{sentence} The embedded database is for trying out; use a ClickHouse server."
    )


@dataclass(frozen=True, slots=True)
class Engine:
    """Names the engine knows, in lower case."""

    table_functions: frozenset[str]
    table_engines: frozenset[str]
    database_engines: frozenset[str]


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    value: str
    start: int
    end: int

    @property
    def word(self) -> str:
        return self.value.upper() if self.kind == "word" else ""

    @property
    def name(self) -> str:
        """The identifier it stands for, in lower case; empty where it is none."""
        if self.kind == "word":
            return self.value.lower()
        if self.kind == "quoted":
            return re.sub(r"\\(.)", r"\1", self.value[1:-1].replace(self.value[0] * 2, self.value[0])).lower()
        return ""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement that may run. `format` and `data` are those of an INSERT that brings its rows along."""

    sql: str
    keyword: str
    format: str | None = None
    data: bytes = b""


def tokens(body: bytes) -> Iterator[Token]:
    """The tokens that mean something; comments and space are left out. Raises RefusedError where one has no end."""
    position = 0
    while position < len(body):
        found = TOKEN.match(body, position)
        if found is None:
            shown = body[position : position + 20].decode("utf-8", "replace")
            raise RefusedError(
                62, "SYNTAX_ERROR", f"Syntax error: cannot read the statement at position {position}: {shown!r}."
            )
        kind = found.lastgroup if found.lastgroup != "tag" else "text"
        if found["space"] is None:
            kind = next(k for k in ("text", "quoted", "word", "number", "sign") if found[k] is not None)
            yield Token(kind, found[kind].decode("utf-8", "replace"), found.start(), found.end())
        position = found.end()


def parse(body: bytes, engine: Engine, parameters: Mapping[str, str]) -> Statement:
    """Take one statement out of a request. Raises RefusedError for none, several, or one that reaches outside."""
    seen: list[Token] = []
    depth, is_over, is_query = 0, False, False
    for token in tokens(body):
        if is_over:
            raise RefusedError(
                62, "SYNTAX_ERROR", "Syntax error: several statements in one request; send them one by one."
            )
        if token.value == ";" and token.kind == "sign":
            is_over = True
            continue
        if token.kind == "sign":
            depth += (token.value in "([{") - (token.value in ")]}")
        seen.append(token)
        is_query = is_query or (depth == 0 and token.word in ("SELECT", "WITH"))
        if seen[0].word != "INSERT" or depth or is_query:
            continue
        if len(seen) > 3 and seen[-2].word == "FORMAT" and seen[-3].word not in ("INTO", "TABLE") and token.name:
            return _insert(body, seen[:-2], engine, parameters, token.value, _data_start(body, token.end))
        if token.word == "VALUES" and not parameters:
            return _insert(body, seen[:-1], engine, parameters, "Values", token.end)
    keyword = _check(seen, engine, parameters)
    return Statement(body[: seen[-1].end].decode("utf-8", "replace"), keyword)


def _data_start(body: bytes, position: int) -> int:
    """Rows begin after the spaces and the one line end that follow the name of the format."""
    found = re.compile(rb"[ \t\f]*;?[ \t\f]*\r?\n?").match(body, position)
    return found.end() if found else position


def _insert(
    body: bytes, seen: list[Token], engine: Engine, parameters: Mapping[str, str], format_: str, start: int
) -> Statement:
    _check(seen, engine, parameters)
    if parameters:
        raise RefusedError(
            48, "NOT_IMPLEMENTED", "Parameters in an INSERT with a FORMAT do not work here; write the name itself."
        )
    sql = body[: seen[-1].end].decode("utf-8", "replace")
    return Statement(sql, "INSERT", format_.strip('`"'), body[start:])


def _check(seen: list[Token], engine: Engine, parameters: Mapping[str, str]) -> str:
    words = [token for token in seen if token.value != "("]
    if not words:
        raise RefusedError(
            62, "SYNTAX_ERROR", "Syntax error: the request has no statement; send one as `query` or as the body."
        )
    keyword = words[0].word
    if keyword in ADMINISTERING:
        raise _denied(f"{keyword} is not run here.")
    if keyword not in READING and keyword not in WRITING:
        wanted = ", ".join(sorted(READING | WRITING))
        raise RefusedError(62, "SYNTAX_ERROR", f"Syntax error: a statement begins with one of {wanted}.")
    for index, token in enumerate(seen):
        after = seen[index + 1] if index + 1 < len(seen) else None
        _check_words(token, after)
        _check_names(token, after, engine)
        if token.word == "ENGINE" and after is not None:
            _check_engine(seen, index, engine)
        if token.value == "{" and index + 3 < len(seen) and seen[index + 3].word == "IDENTIFIER":
            value = parameters.get(seen[index + 1].value, "")
            if not IDENTIFIER_PARAMETER.fullmatch(value) or value.lower().split(".")[0] == "default":
                raise _denied(f"The identifier {value[:40]!r} is not a plain name of a table or a column.")
    return keyword


def _check_words(token: Token, after: Token | None) -> None:
    if token.word in ("OUTFILE", "INFILE"):
        raise _denied(f"{token.word} would touch a file of this machine.")
    if token.name in ("disk", "source") and after is not None and after.value == "(":
        raise _denied(f"{token.value}(...) would reach outside the database.")
    if token.name and after is not None and after.value == "=" and REFUSED_SETTINGS.fullmatch(token.name):
        raise RefusedError(164, "READONLY", f"The setting {token.value} cannot be changed here.")


def _check_names(token: Token, after: Token | None, engine: Engine) -> None:
    name = token.name
    if not name:
        return
    if (
        after is not None
        and after.value == "("
        and (name in engine.table_functions and name not in SAFE_TABLE_FUNCTIONS)
    ):
        raise _denied(f"The function {token.value} reaches outside the database.")
    if name == "default" and after is not None and after.value == ".":
        raise _denied("Tables of the database `default` are files of this machine.")


def _check_engine(seen: list[Token], index: int, engine: Engine) -> None:
    rest = seen[index + 1 : index + 3]
    token = rest[1] if rest[0].value == "=" and len(rest) == 2 else rest[0]
    name = token.name
    is_database = any(item.word == "DATABASE" for item in seen[:4])
    known = engine.database_engines if is_database else engine.table_engines
    safe = SAFE_DATABASE_ENGINES if is_database else SAFE_TABLE_ENGINES
    if name in known and name not in safe and not name.endswith("mergetree"):
        raise _denied(f"The engine {token.value} reaches outside the database.")
