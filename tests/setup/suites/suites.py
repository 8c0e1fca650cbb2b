#!/usr/bin/env python3
"""Runs test suites that others wrote for PostgreSQL: directly, and through Reprieve with nothing and with everything enabled.

    suites.py WORK BINARY [SUITE[:ARG,ARG...]]... [--modes direct,nothing,everything]

WORK holds what fetch.sh brought, and gets results; those of modes that are not run are the ones of last time. What passes directly must pass through the proxy, but for known.txt.
"""

import fnmatch
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from cluster import cluster, proxy, psql

HERE = Path(__file__).resolve().parent
MODES = {"direct": None, "nothing": "", "everything": "*.*"}


def source(work, name):
    return max((work / "src").glob(f"{name}-*"))


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
        return source(work, "sqlalchemy"), pytest(work, *(chosen or files), "--dburi", url, "--tb=short", "-n0"), {}

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


DIALECT = ["test/dialect/postgresql", "test/dialect/test_suite.py"]
SUITES = {
    "psycopg2": psycopg2,
    "asyncpg": asyncpg,
    "pg8000": pg8000,
    "sqlalchemy-dialect": sqlalchemy("psycopg", *DIALECT),
    "sqlalchemy-asyncpg": sqlalchemy("asyncpg", *DIALECT),
    "sqlalchemy-sql": sqlalchemy("psycopg", "test/sql"),
    "sqlalchemy-orm": sqlalchemy("psycopg", "test/orm"),
    "django": django,
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

        def go(port):
            filled = [str(part).replace("{port}", str(port)) for part in command]
            with open(results / f"{mode}.log", "w") as log:
                subprocess.run(filled, cwd=cwd, env={**environment, "PGPORT": str(port)}, stdout=log, stderr=log)

        if MODES[mode] is None:
            go(upstream)
        else:
            with proxy(binary, upstream, MODES[mode], results / f"{mode}.proxy.log") as port:
                go(port)
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
        differ = {test: why_known(suite, mode, test) for test in sorted(passing & outcomes.keys())
                  if outcomes[test]["outcome"] != "passed"}
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
        for mode in modes:
            run(work, Path(binary).resolve(), suite, chosen, mode)
        unknown += compare(suite, {mode: outcomes_of(work, suite, mode) for mode in MODES})
    return 1 if unknown else 0


if __name__ == "__main__":
    # So that clusters go when we are told to.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main(sys.argv[1:]))
