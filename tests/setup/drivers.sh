#!/usr/bin/env bash
# Puts the drivers that the tests use under target/drivers: a Python venv and a node_modules. Quick if they are there.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}/drivers
mkdir -p "$target"

wanted=$(cat "$root/tests/drivers/requirements.txt")
if [ "$(cat "$target/venv/.complete" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$target/venv"
    python=/usr/bin/python3
    [ -x "$python" ] || python=python3
    "$python" -m venv "$target/venv"
    "$target/venv/bin/pip" install --quiet --disable-pip-version-check -r "$root/tests/drivers/requirements.txt"
    echo "$wanted" >"$target/venv/.complete"
fi

if ! cmp -s "$root/tests/drivers/package.json" "$target/node/package.json" || [ ! -d "$target/node/node_modules/pg" ]; then
    mkdir -p "$target/node"
    cp "$root/tests/drivers/package.json" "$target/node/"
    (cd "$target/node" && npm install --silent --no-audit --no-fund --no-package-lock)
fi
