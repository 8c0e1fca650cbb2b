#!/usr/bin/env bash
# Brings the source packages that hold the suites, and a venv to run them in, to the directory given. Quick if they are there.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=$1
wanted=$(cat "$here/sources.txt" "$here/requirements.txt")
[ "$(cat "$work/.complete" 2>/dev/null)" = "$wanted" ] && exit 0

rm -rf "$work/src" "$work/venv" "$work/sdist"
mkdir -p "$work/src"
python=/usr/bin/python3
[ -x "$python" ] || python=python3
"$python" -m venv "$work/venv"
pip=("$work/venv/bin/pip" --quiet --disable-pip-version-check)
# psycopg2's source does not even tell its name without it.
command -v pg_config >/dev/null || { echo "pg_config is missing: install libpq-dev" >&2; exit 1; }
names=$(sed 's/==.*//' "$here/sources.txt" | paste -sd,)
"${pip[@]}" download --no-deps --no-binary "$names" --dest "$work/sdist" -r "$here/sources.txt"
for archive in "$work"/sdist/*.tar.gz; do
    tar -xzf "$archive" -C "$work/src"
done
# The tests are to find the installed package, which has its compiled parts.
rm -rf "$work"/src/asyncpg-*/asyncpg
"${pip[@]}" install -r <(sed 's/^psycopg2==/psycopg2-binary==/' "$here/sources.txt") -r "$here/requirements.txt"
# What Django's own tests want, as far as it can be had.
for line in $(sed -E 's/[;#].*//; s/ //g' "$work"/src/django-*/tests/requirements/py3.txt); do
    "${pip[@]}" install "$line" 2>/dev/null || echo "without $line" >&2
done
echo "$wanted" >"$work/.complete"
