#!/usr/bin/env bash
# Puts the SQL files of PostgreSQL 18's regression suite under target/pg-src/18 and prints their directory. They come with the
# tests of libpg_query, which are in the source package of pglast on PyPI. Idempotent; changes nothing outside of target/.
set -euo pipefail

release=pglast==8.7
root=$(cd "$(dirname "$0")/../.." && pwd)
cache=$root/target/pg-src
to=$cache/18

if [ -f "$to/boolean.sql" ]; then
    echo "$to"
    exit 0
fi

mkdir -p "$cache"
exec 9>"$cache/lock"
command -v flock >/dev/null && flock 9
if [ ! -f "$to/boolean.sql" ]; then
    work=$(mktemp -d "$cache/fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    python3 -m venv "$work/venv" >&2
    "$work/venv/bin/pip" --quiet --disable-pip-version-check download --no-deps --no-binary :all: --dest "$work" "$release" >&2
    mkdir "$work/files"
    tar -xzf "$work"/pglast-*.tar.gz -C "$work/files" --strip-components=5 --wildcards '*/libpg_query/test/sql/postgres_regress/*.sql'
    rm -rf "$to"
    mv "$work/files" "$to"
fi
echo "$to"
