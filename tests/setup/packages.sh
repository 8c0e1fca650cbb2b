#!/usr/bin/env bash
# Installs the Debian packages that are missing for a purpose: demo, test, lint or bench. Quick if nothing is.
set -euo pipefail

missing=()
need() { # a test that it is there, and the package that brings it
    sh -c "$1" >/dev/null 2>&1 || missing+=("$2")
}

need 'ls /usr/lib/postgresql/*/bin/initdb' postgresql
need 'command -v psql' postgresql-client
need 'command -v setpriv' util-linux
need 'command -v cc' gcc
if [ "${1:-test}" != demo ]; then
    need 'ls /usr/share/postgresql/*/extension/citext.control' postgresql-contrib
    # pg_query, the parser oracle of the tests, makes its bindings with libclang.
    need 'ls /usr/lib/llvm-*/lib/libclang*.so* && ls -d /usr/lib/clang/*/include /usr/lib/llvm-*/lib/clang/*/include' libclang-dev
    need 'command -v pgbouncer || test -x /usr/sbin/pgbouncer' pgbouncer
    need 'command -v openssl' openssl
    need 'python3 -c "import ensurepip, venv"' python3-venv
    need 'command -v node' nodejs
    need 'command -v npm' npm
    need 'command -v sqlsmith' sqlsmith
    # promtool, which tries the alerts.
    need 'command -v promtool' prometheus
fi
if [ "${1:-test}" = bench ]; then
    need 'ls /usr/lib/postgresql/*/bin/pgbench' postgresql
    need 'command -v haproxy || test -x /usr/sbin/haproxy' haproxy
fi
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
echo "installing: ${missing[*]}" >&2
# Installing a server must not start one.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
    "${as_root[@]}" chmod +x $policy
    trap '"${as_root[@]}" rm -f $policy' EXIT
fi
"${as_root[@]}" apt-get -q update >/dev/null
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 \
    -o Dpkg::Options::=--force-confold install --no-install-recommends "${missing[@]}" >/dev/null
# Only promtool is wanted: the server is not to come up with the next boot either.
if [[ " ${missing[*]} " == *" prometheus "* ]] && command -v systemctl >/dev/null; then
    "${as_root[@]}" systemctl -q disable prometheus || echo "prometheus stays enabled: it starts with the next boot" >&2
fi
