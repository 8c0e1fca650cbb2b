#!/bin/sh
# Prints the path of PostgreSQL's isolationtester for the installed major version (PG_MAJOR=n: another one): the one
# that comes with Debian's packages, or else one built from the server's source in target/.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
major=${PG_MAJOR:-$(ls /usr/lib/postgresql 2>/dev/null | sort -n | tail -1)}
packaged=/usr/lib/postgresql/$major/lib/pgxs/src/test/isolation/isolationtester
if [ -x "$packaged" ] && "$packaged" -V >/dev/null 2>&1; then
    echo "$packaged"
    exit 0
fi

source=$(PG_MAJOR=$major "$root/tests/setup/pg_source.sh")
build=$root/target/isolation/build-$major
if [ ! -x "$build/src/test/isolation/isolationtester" ]; then
    rm -rf "$build"
    mkdir -p "$build"
    cp -r "$source/." "$build/"
    cd "$build"
    {
        ./configure --without-readline --without-zlib --without-icu
        make -s -C src/backend generated-headers
        make -s -j2 -C src/interfaces/libpq all
        make -s -j2 -C src/test/isolation isolationtester
    } >"$build.log" 2>&1 || { tail -20 "$build.log" >&2; exit 1; }
fi
echo "$build/src/test/isolation/isolationtester"
