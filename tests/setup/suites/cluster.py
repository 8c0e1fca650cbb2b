"""A private PostgreSQL cluster and a proxy in front of it, both on free ports, both gone at the end."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
CONF = """
fsync = off
synchronous_commit = off
full_page_writes = off
max_connections = 300
max_prepared_transactions = 20
max_locks_per_transaction = 1024
unix_socket_directories = ''
listen_addresses = '127.0.0.1'
wal_level = logical
shared_buffers = 256MB
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def as_postgres():
    """The server does not run as root."""
    if os.getuid() != 0:
        return []
    pwd.getpwnam("postgres")
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]


@contextlib.contextmanager
def ended(process, signal_first=15):
    try:
        yield process
    finally:
        process.send_signal(signal_first)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def psql(port, *statements, database="postgres"):
    for statement in statements:
        subprocess.run(
            ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres",
             "-c", statement, database],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )


def wait_for(what, ready, process, seconds=60):
    until = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"{what} does not come up")
        time.sleep(0.1)


@contextlib.contextmanager
def cluster(log):
    """Yields the port of a fresh server."""
    directory = Path(tempfile.mkdtemp(prefix="reprieve-suites-"))
    if os.getuid() == 0:
        shutil.chown(directory, "postgres", "postgres")
    data, port = directory / "data", free_port()
    try:
        subprocess.run(
            [*as_postgres(), BIN / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C.UTF-8"],
            check=True, stdout=subprocess.DEVNULL, cwd="/",
        )
        with open(data / "postgresql.conf", "a") as conf:
            conf.write(CONF)
        with open(log, "w") as out:
            server = subprocess.Popen(
                [*as_postgres(), BIN / "postgres", "-D", data, "-p", str(port)],
                stdout=out, stderr=out, cwd="/", start_new_session=True,
            )
            # SIGINT: a fast shutdown.
            with ended(server, signal_first=2):
                ready = [BIN / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
                wait_for("PostgreSQL", lambda: subprocess.run(ready).returncode == 0, server)
                yield port
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def is_ready(port):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2).status == 200
    except (urllib.error.URLError, OSError):
        return False


@contextlib.contextmanager
def proxy(binary, upstream, enable, log):
    """Yields the app port of a proxy that installs its keeper in every database."""
    app, admin, http = free_port(), free_port(), free_port()
    url = f"postgres://postgres@127.0.0.1:{upstream}"
    environment = {
        "REPRIEVE__LISTEN__APP": f"127.0.0.1:{app}",
        "REPRIEVE__LISTEN__ADMIN": f"127.0.0.1:{admin}",
        "REPRIEVE__LISTEN__HTTP": f"127.0.0.1:{http}",
        "REPRIEVE__UPSTREAM__URL": url,
        "REPRIEVE__KEEPER__URL": f"{url}/postgres",
        "REPRIEVE__KEEPER__AUTO_INSTALL": "true",
        "REPRIEVE__TABLES__ENABLE": enable,
    }
    with open(log, "w") as out:
        process = subprocess.Popen([binary, "serve"], env={**os.environ, **environment}, stdout=out, stderr=out, cwd="/")
        with ended(process):
            wait_for("Reprieve", lambda: is_ready(http), process)
            yield app
