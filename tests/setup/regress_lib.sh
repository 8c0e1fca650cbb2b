#!/usr/bin/env bash
# Builds what PostgreSQL's regression files load (regress.so; refint and autoinc come with the server) into the
# directory given, against the headers of the installed server's own development package, which is unpacked, not
# installed. Prints nothing.
set -euo pipefail

to=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
major=${PG_MAJOR:-$(ls /usr/lib/postgresql | sort -n | tail -1)}
source=$("$root/tests/setup/pg_source.sh")
version=$(dpkg-query -W -f '${Version}' "postgresql-$major")
cache=${CARGO_TARGET_DIR:-$root/target}/regress/lib-$version

if [ ! -e "$cache/regress.so" ]; then
    mkdir -p "$cache/dev"
    cd "$cache/dev"
    if [ -d "/usr/include/postgresql/$major/server" ]; then
        include=/usr/include/postgresql
    else
        package=postgresql-server-dev-$major
        apt-get -q -o APT::Sandbox::User=root download "$package=$version" >&2 \
            || { apt-get -q update >&2; apt-get -q -o APT::Sandbox::User=root download "$package=$version" >&2; } \
            || apt-get -q -o APT::Sandbox::User=root download "$package" >&2
        dpkg -x "$package"_*.deb .
        include=$PWD/usr/include/postgresql
    fi
    cc -shared -fPIC -O1 -w -D_GNU_SOURCE -I"$include/$major/server" -I"$include/internal" -I"$include" \
        -o "$cache/regress.so.new" "$source/src/test/regress/regress.c"
    mv "$cache/regress.so.new" "$cache/regress.so"
fi
mkdir -p "$to"
cp "$cache/regress.so" "/usr/lib/postgresql/$major/lib/refint.so" "/usr/lib/postgresql/$major/lib/autoinc.so" "$to/"
chmod -R a+rX "$to"
