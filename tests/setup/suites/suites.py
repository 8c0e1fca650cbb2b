#!/usr/bin/env python3
"""Runs test suites that others wrote for PostgreSQL: directly, and through Reprieve with nothing and with everything enabled.

    suites.py WORK BINARY [SUITE[:ARG,ARG...]]... [--modes direct,nothing,everything]

WORK holds what fetch.sh and others.sh brought, and gets results; those of modes that are not run are the ones of last time. What passes directly must pass through the proxy, but for known.txt.
"""

import fnmatch
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from cluster import cluster, proxy, psql

HERE = Path(__file__).resolve().parent
MODES = {"direct": None, "nothing": "", "everything": "*.*"}


class Missing(Exception):
    """What a suite needs could not be had."""


def source(work, name):
    found = max((work / "src").glob(f"{name}-*"), default=None)
    if found is None:
        raise Missing(f"the source of {name} is not there")
    return found


def pytest(work, *arguments):
    return [work / "venv/bin/python", "-m", "pytest", "-q", "-p", "recording", "-p", "no:cacheprovider",
            "--timeout=600", *arguments]


def django(work, port, chosen):
    psql(port, "CREATE DATABASE django", "CREATE DATABASE django_other")
    command = [work / "venv/bin/python", "runtests.py", "--settings=django_settings", "--parallel=1", "--noinput", "-v0"]
    return source(work, "django") / "tests", [*command, *chosen], {}


def sqlalchemy(driver, *files):
    def suite(work, port, chosen):
        psql(port, "CREATE DATABASE sa")
        psql(port, "CREATE SCHEMA test_schema", "CREATE SCHEMA test_schema_2", "CREATE EXTENSION hstore",
             "CREATE EXTENSION citext", database="sa")
        url = f"postgresql+{driver}://postgres@127.0.0.1:{{port}}/sa"
        root = source(work, "sqlalchemy")
        if chosen or list(files) != ["test/orm"]:
            return root, pytest(work, *(chosen or files), "--dburi", url, "--tb=short", "-n0"), {}
        # A process, and so a session, for each file: PostgreSQL keeps what PL/pgSQL compiled for tables that are gone.
        each = [path.relative_to(root) for path in sorted(root.glob("test/orm/**/test_*.py"))]
        command = pytest(work, "$file", "--dburi", url, "--tb=short", "-n0")
        run = " ".join(f'"{part}"' for part in command)
        return root, ["sh", "-c", f'for file in "$@"; do {run}; done', "sh", *each], {}

    return suite


def psycopg2(work, port, chosen):
    psql(port, "CREATE DATABASE psycopg2_test")
    psql(port, "CREATE EXTENSION hstore", database="psycopg2_test")
    return source(work, "psycopg2"), pytest(work, *(chosen or ["tests"])), {}


def asyncpg(work, port, chosen):
    return source(work, "asyncpg"), pytest(work, "--import-mode=importlib", *(chosen or ["tests"])), {}


def pg8000(work, port, chosen):
    psql(port, "CREATE EXTENSION hstore")
    # The rest wants a server with passwords, or is a benchmark.
    where = chosen or ["test", "--ignore-glob=*/auth", "--ignore-glob=*benchmarks*", "--ignore=test/test_readme.py"]
    return source(work, "pg8000"), pytest(work, *where), {}


def rails(work, port, chosen):
    root = source(work, "rails")
    psql(port, "CREATE DATABASE activerecord_unittest", "CREATE DATABASE activerecord_unittest2")
    here = [f"-I{root / part}" for part in ("activerecord/lib", "activerecord/test", "activesupport/lib", "activemodel/lib")]
    command = ["ruby", "-W0", *here, "-r", HERE / "recording.rb", HERE / "rails.rb", *chosen]
    return root / "activerecord", command, {"ARCONN": "postgresql"}


def go(*packages, exclude=""):
    """The Debian packages of Go libraries hold their tests."""
    def suite(work, port, chosen):
        psql(port, "CREATE DATABASE pgx_test", "CREATE DATABASE pqgotest")
        psql(port, "CREATE EXTENSION hstore", "CREATE DOMAIN uint64 AS numeric(20,0)", database="pgx_test")
        more = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": "-count=1", "GOCACHE": str(work / "go-cache"),
                "PGX_TEST_DATABASE": "host=127.0.0.1 port={port} user=postgres dbname=pgx_test sslmode=disable",
                "PGX_TEST_TCP_CONN_STRING": "host=127.0.0.1 port={port} user=postgres dbname=pgx_test sslmode=disable",
                "PGDATABASE": "pqgotest", "PGSSLMODE": "disable"}
        return work, ["go", "test", "-json", "-p", "1", "-timeout", "15m", *(["-run", chosen[0]] if chosen else []), *packages], more

    return suite


def read_go(log, lines):
    """What `go test -json` printed, as the lines that recording.py writes."""
    texts = {}
    with open(lines, "w") as out:
        for line in log.read_text(errors="replace").splitlines():
            event = json.loads(line) if line.startswith("{") else {}
            test = f"{event.get('Package')}.{event.get('Test')}"
            if event.get("Action") == "output":
                texts[test] = texts.get(test, "") + event["Output"]
            elif event.get("Action") in ("pass", "fail", "skip") and "Test" in event:
                outcome = {"pass": "passed", "fail": "failed", "skip": "skipped"}[event["Action"]]
                out.write(json.dumps({"test": test, "outcome": outcome, "text": texts.get(test, "")[-6000:]}) + "\n")


def dbd_pg(work, port, chosen):
    psql(port, "CREATE DATABASE dbd")
    more = {"DBI_DSN": "dbi:Pg:dbname=dbd;host=127.0.0.1;port={port}", "DBI_USER": "postgres", "LC_ALL": "C"}
    return source(work, "DBD-Pg"), ["prove", "-b", "-v", "--merge", *(chosen or ["t"])], more


def read_tap(log, lines):
    """What `prove -v` printed. A test without a name of its own is told by its number."""
    file, entry = "?", None
    with open(lines, "w") as out:
        for line in log.read_text(errors="replace").splitlines():
            if found := re.match(r"(\S+\.t) \.+", line):
                file = found[1]
            found = re.match(r"(not )?ok (\d+)(?: - )?(.*)", line)
            if (found or line.startswith("Test Summary")) and entry:
                out.write(json.dumps(entry) + "\n")
                entry = None
            if found:
                outcome = "failed" if found[1] else "skipped" if re.search("# (?i:skip|todo)", line) else "passed"
                # Some names hold values that are different each time.
                entry = {"test": f"{file} {found[2]}", "outcome": outcome, "text": line}
            elif entry and line.startswith("#"):
                entry["text"] += "\n" + line
        if entry:
            out.write(json.dumps(entry) + "\n")


def jdbc(work, port, chosen):
    psql(port, "CREATE DATABASE jdbc")
    url = "jdbc:postgresql://127.0.0.1:{port}/jdbc?user=postgres&sslmode=disable"
    return work, ["java", "-cp", "/usr/share/java/postgresql.jar", HERE / "sessions/Session.java", url], {}


def orms(work, port, chosen):
    psql(port, "CREATE DATABASE orms")
    psql(port, "CREATE EXTENSION pgcrypto", database="orms")
    return work, ["node", HERE / "sessions/orms.js"], {"NODE_MODULES": str(work / "node"), "TZ": "UTC"}


def read_session(log, lines):
    """What a program of ours printed: each of its sections is a test, whose text is what counts."""
    with open(lines, "w") as out:
        for part in re.split(r"^== ", log.read_text(errors="replace"), flags=re.M):
            name, _, text = part.partition("\n")
            out.write(json.dumps({"test": name, "outcome": "passed", "text": text}) + "\n")


DIALECT = ["test/dialect/postgresql", "test/dialect/test_suite.py"]
READERS = {"pgx": read_go, "libpq-go": read_go, "dbd-pg": read_tap, "jdbc": read_session, "orms": read_session}
SUITES = {
    "psycopg2": psycopg2,
    "asyncpg": asyncpg,
    "pg8000": pg8000,
    "sqlalchemy-dialect": sqlalchemy("psycopg", *DIALECT),
    "sqlalchemy-asyncpg": sqlalchemy("asyncpg", *DIALECT),
    "sqlalchemy-sql": sqlalchemy("psycopg", "test/sql"),
    "sqlalchemy-orm": sqlalchemy("psycopg", "test/orm"),
    "django": django,
    "rails": rails,
    "pgx": go("github.com/jackc/pgx/v4/...", "github.com/jackc/pgconn/...", "github.com/jackc/pgtype/..."),
    "dbd-pg": dbd_pg,
    "jdbc": jdbc,
    "orms": orms,
    "libpq-go": go("github.com/lib/pq/..."),
}


def run(work, binary, suite, chosen, mode):
    """Leaves the outcome of each test in `results`."""
    results = work / "results" / suite
    results.mkdir(parents=True, exist_ok=True)
    lines = results / f"{mode}.jsonl"
    lines.unlink(missing_ok=True)
    began = time.monotonic()
    with cluster(results / f"{mode}.server.log") as upstream:
        cwd, command, more = SUITES[suite](work, upstream, chosen)
        environment = {**os.environ, "PYTHONPATH": str(HERE), "SUITE_RESULTS": str(lines), "PGHOST": "127.0.0.1",
                       "PGUSER": "postgres", **more}

        def start(port):
            filled = [str(part).replace("{port}", str(port)) for part in command]
            with open(results / f"{mode}.log", "w") as log:
                filled_environment = {name: value.replace("{port}", str(port)) for name, value in environment.items()}
                subprocess.run(filled, cwd=cwd, env={**filled_environment, "PGPORT": str(port)}, stdout=log, stderr=log)

        if MODES[mode] is None:
            start(upstream)
        else:
            with proxy(binary, upstream, MODES[mode], results / f"{mode}.proxy.log") as port:
                start(port)
    if suite in READERS:
        READERS[suite](results / f"{mode}.log", lines)
    print(f"  {suite} {mode}: {time.monotonic() - began:.0f} s", flush=True)


def outcomes_of(work, suite, mode):
    """Test -> what is recorded of it."""
    outcomes, lines = {}, work / "results" / suite / f"{mode}.jsonl"
    if lines.exists():
        for line in lines.read_text().splitlines():
            entry = json.loads(line)
            # A test that fails in its teardown has failed.
            if outcomes.get(entry["test"], {}).get("outcome") != "failed":
                outcomes[entry["test"]] = entry
    return outcomes


def known_differences():
    """(suite, mode, test) as patterns, and why."""
    for line in (HERE / "known.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            suite, mode, test, reason = line.split(None, 3)
            yield suite, mode, test, reason


def why_known(suite, mode, test):
    for suites, modes, tests, reason in known_differences():
        if fnmatch.fnmatchcase(suite, suites) and fnmatch.fnmatchcase(mode, modes) and fnmatch.fnmatchcase(test, tests):
            return reason
    return None


def compare(suite, all_outcomes):
    """Prints the numbers and what differs; how much of that nobody knows of."""
    direct = all_outcomes["direct"]
    passing = {test for test, entry in direct.items() if entry["outcome"] == "passed"}
    print(f"{suite}: {len(direct)} tests, {len(passing)} pass directly")
    unknown = 0
    for mode in [mode for mode, outcomes in all_outcomes.items() if mode != "direct" and outcomes]:
        outcomes = all_outcomes[mode]
        missing = len(passing - outcomes.keys())
        same_text = READERS.get(suite) is read_session
        differ = {test: why_known(suite, mode, test) for test in sorted(passing & outcomes.keys())
                  if outcomes[test]["outcome"] != "passed" or same_text and outcomes[test]["text"] != direct[test]["text"]}
        new = sum(reason is None for reason in differ.values())
        unknown += new + missing
        print(f"  {mode} enabled: {len(passing) - missing - len(differ)} of them pass, {len(differ)} differ ({new} unknown)"
              + (f", {missing} did not run" if missing else ""))
        for test, reason in differ.items():
            text = outcomes[test]["text"].strip().splitlines() or ["?"]
            print(f"    {reason or 'UNKNOWN'}: {test}\n        {text[-1][:200]}")
    return unknown


def main(arguments):
    modes = list(MODES)
    if "--modes" in arguments:
        at = arguments.index("--modes")
        modes = [mode for mode in arguments[at + 1].split(",") if mode]
        del arguments[at : at + 2]
    work, binary, *wanted = arguments
    work = Path(work).resolve()
    unknown = 0
    for suite in wanted or SUITES:
        suite, _, chosen = suite.partition(":")
        chosen = [part for part in chosen.split(",") if part]
        try:
            for mode in modes:
                run(work, Path(binary).resolve(), suite, chosen, mode)
        except Missing as reason:
            print(f"{suite}: left out, {reason}", flush=True)
            continue
        unknown += compare(suite, {mode: outcomes_of(work, suite, mode) for mode in MODES})
    return 1 if unknown else 0


if __name__ == "__main__":
    # So that clusters go when we are told to.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main(sys.argv[1:]))
