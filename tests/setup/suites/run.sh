#!/usr/bin/env bash
# Fetches, runs and compares; the arguments are those of suites.py behind WORK and BINARY.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../../target}
"$here/fetch.sh" "$target/suites-of-others"
case " ${*:-all rails} " in
*" rails"* | *" dbd-pg"* | *" pgx"* | *" libpq-go"* | *" jdbc"* | *" orms"*) "$here/others.sh" "$(realpath "$target/suites-of-others")" ;;
esac
exec "$here/suites.py" "$target/suites-of-others" "$target/release/reprieve" "$@"
