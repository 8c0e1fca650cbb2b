#!/bin/sh
# Puts the source of the installed PostgreSQL server (or, where that version is gone from the
# archive, the newest one of the same major version) under target/pg-src and prints its directory.
# Idempotent; changes nothing outside of target/. With PG_MAJOR=n another major version.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
cache=$root/target/pg-src
major=${PG_MAJOR:-$(ls /usr/lib/postgresql 2>/dev/null | sort -n | tail -1)}
if [ -z "$major" ]; then
    echo "pg_source: no PostgreSQL server under /usr/lib/postgresql and no PG_MAJOR given" >&2
    exit 1
fi
package=postgresql-$major

found() {
    test -f "$cache/$major/src/test/regress/sql/boolean.sql"
}

if found; then
    echo "$cache/$major"
    exit 0
fi

mkdir -p "$cache"
exec 9>"$cache/lock"
command -v flock >/dev/null && flock 9
if found; then
    echo "$cache/$major"
    exit 0
fi

work=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir -p lists/partial

# The system's own sources, asked for source packages, in lists of our own.
for file in /etc/apt/sources.list.d/*.sources; do
    test -f "$file" && sed 's/^Types:.*/Types: deb-src/' "$file" >>all.sources && echo >>all.sources
done
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    test -f "$file" && sed -n 's/^deb /deb-src /p' "$file" >>all.list
done
mkdir -p parts
test -s all.sources && cp all.sources parts/source.sources
test -s all.list && cp all.list parts/source.list

apt() {
    apt-get -q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/parts" \
        -o Dir::State::lists="$work/lists" -o APT::Sandbox::User=root \
        -o APT::Get::List-Cleanup=0 "$@" >&2
}

apt update
version=$(dpkg-query -W -f '${source:Version}' "$package" 2>/dev/null || true)
apt source --download-only "$package=$version" 2>/dev/null \
    || apt source --download-only "$package"

tarball=$(ls "$package"_*.orig.tar.* | grep -v '\.asc$' | sort -V | tail -1)
mkdir tree
tar -xf "$tarball" -C tree --strip-components=1
rm -rf "${cache:?}/$major"
mv tree "$cache/$major"
found || { echo "pg_source: $tarball holds no regression files" >&2; exit 1; }
echo "$cache/$major"
