#!/usr/bin/env bash
# Brings what the suites of other languages need to the directory given: Ruby on Rails and DBD::Pg from Debian's sources, Go libraries with
# their tests and the JDBC driver as packages, ORMs from npm. Quick if it is there. What cannot be had is told, and its suites are left out.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=$1
wanted=$(cat "$here/others.sh" "$here/package.json")
[ "$(cat "$work/.others" 2>/dev/null)" = "$wanted" ] && exit 0
mkdir -p "$work/src" "$work/node" "$work/deb"

packages=(ruby ruby-pg ruby-mocha ruby-minitest ruby-concurrent ruby-i18n ruby-tzinfo ruby-connection-pool ruby-zeitwerk ruby-sqlite3 ruby-msgpack
    ruby-bcrypt ruby-rack ruby-builder rake libdbi-perl libpq-dev golang-go golang-github-jackc-pgx-v4-dev golang-github-lib-pq-dev
    openjdk-17-jdk-headless libpostgresql-jdbc-java nodejs)
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
    apt-get -q update >&2 || true
    apt-get -q install -y --no-install-recommends "${missing[@]}" >&2 || echo "without ${missing[*]}" >&2
fi

# The system's own sources, asked for source packages of a release whose Rails runs with the Ruby of this one.
mkdir -p "$work/deb/parts" "$work/deb/lists/partial"
for file in /etc/apt/sources.list.d/*.sources; do
    [ -f "$file" ] && sed 's/^Types:.*/Types: deb-src/; /security/!s/^Suites:.*/Suites: trixie/; /^Suites:.*security/s/:.*/: trixie-security/' "$file"
    echo
done >"$work/deb/parts/source.sources"
apt() {
    (cd "$work/deb" && apt-get -q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/deb/parts" -o Dir::State::lists="$work/deb/lists" \
        -o APT::Sandbox::User=root -o APT::Get::List-Cleanup=0 "$@" >&2)
}
apt update || true
for source in rails libdbd-pg-perl; do
    # Some mirrors lack what Debian adds to it, which nobody needs here.
    apt source --download-only "$source" || true
    tarball=$(ls "$work/deb/$source"_*.orig.tar.* 2>/dev/null | sort -V | tail -1)
    if [ -n "$tarball" ]; then
        tar -xf "$tarball" -C "$work/src"
    else
        echo "without the source of $source" >&2
    fi
done
for directory in "$work"/src/DBD-Pg-*; do
    [ -f "$directory/Makefile.PL" ] || continue
    (cd "$directory" && perl Makefile.PL && make) >"$work/deb/dbd-pg.log" 2>&1 || echo "without DBD::Pg: $work/deb/dbd-pg.log" >&2
done
cp "$here/package.json" "$work/node/"
(cd "$work/node" && npm install --silent --no-audit --no-fund --no-package-lock) || echo "without the ORMs of npm" >&2
echo "$wanted" >"$work/.others"
