#!/usr/bin/env bash
# Runs every suite, all of them even if one fails, and ends with a table of counts. SUITES="name name" runs only these.
set -uo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
cargo=${CARGO:-cargo}
logs=${CARGO_TARGET_DIR:-$root/target}/suites
rm -rf "$logs"
mkdir -p "$logs"

# The suites start this program; everything is compiled before the first one runs.
"$cargo" build -q -p reprieve || exit 1
"$cargo" test -q --workspace --no-run || exit 1

names=() results=() failed=0
suite() { # a name, and what runs it
    local name=$1 status started=$SECONDS
    shift
    if [ -n "${SUITES:-}" ] && [[ " $SUITES " != *" $name "* ]]; then return; fi
    echo "== $name"
    "$@" >"$logs/$name.log" 2>&1
    status=$?
    local counts
    counts=$(awk '/^test result:/ { p += $4; f += $6 } END { printf "%d %d", p, f }' "$logs/$name.log")
    local passed=${counts% *} wrong=${counts#* } verdict=ok
    # Nothing run is nothing tested.
    if [ $status -ne 0 ] || [ "$wrong" -gt 0 ] || [ "$passed" -eq 0 ]; then
        verdict=FAILED
        failed=1
        sed -n '/^failures:/,$p' "$logs/$name.log" | head -200
        [ "$wrong" -gt 0 ] || tail -30 "$logs/$name.log"
    fi
    names+=("$name")
    results+=("$(printf '%6d passed %5d failed %5d s  %s' "$passed" "$wrong" $((SECONDS - started)) "$verdict")")
}

# Always the whole workspace: with -p, cargo would build the dependencies anew with other features.
suite unit "$cargo" test --no-fail-fast --workspace --lib --bins
for path in crates/*/tests/*.rs crates/*/tests/*/main.rs tests/tests/*.rs tests/tests/*/main.rs; do
    [ -e "$path" ] || continue
    name=$(echo "${path%/main.rs}" | sed -E 's|.*/tests/([^/]*)$|\1|; s|\.rs$||')
    case $path in
        # The corpus has two readers: the rewriter by itself, and two servers side by side.
        tests/tests/corpus/*) name=differential ;;
    esac
    # Two crates may have a suite of one name; cargo runs both at once.
    [[ " ${names[*]} " == *" $name "* ]] || suite "$name" "$cargo" test --workspace --test "$name"
done

echo
echo "suite                  result"
for at in "${!names[@]}"; do
    printf '%-22s %s\n' "${names[$at]}" "${results[$at]}"
done
[ $failed -eq 0 ] || echo "whole logs: $logs"
exit $failed
