#!/usr/bin/env bash
# Checks the dashboards: their files by themselves, and against real hubs in a real browser. Needs Node 20, npm and Chromium;
# whatever is missing and cannot be had is said, and the checks that need it are skipped.
#
#   KOH_BINARY      the hub to start; else target/release/koh of the target directory
#   KOH_CHROMIUM    the browser; else one on PATH, else Debian's package, unpacked into the cache
#   KOH_PICTURES=1  also write images/         KOH_BLESS=1  also write the golden requests
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

cache="${XDG_CACHE_HOME:-${HOME:-$PWD}/.cache}/koh"
skip() { echo "SKIPPED dashboards: $1"; exit 0; }

command -v node >/dev/null && command -v npm >/dev/null || skip "no node and npm here; they need Node 20 or later"
[ "$(node -p 'parseInt(process.versions.node)')" -ge 20 ] || skip "Node $(node --version) is too old; they need 20 or later"

# What npm ci would install, unless it is there already.
wanted="$(cat package.json package-lock.json | sha256sum)"
if [ "$(cat node_modules/.wanted 2>/dev/null)" != "$wanted" ]; then
    if ! npm ci --no-audit --no-fund --loglevel=error >"${TMPDIR:-/tmp}/koh-npm.log" 2>&1; then
        tail -n 5 "${TMPDIR:-/tmp}/koh-npm.log"
        skip "npm ci fails, see above"
    fi
    echo "$wanted" >node_modules/.wanted
fi

node --test files.test.mjs frames.test.mjs

# Prints the path of a Chromium, or says on standard error why there is none.
browser() {
    local name
    for name in "${KOH_CHROMIUM:-}" chromium chromium-browser google-chrome; do
        if [ -n "$name" ] && type -P "$name"; then return 0; fi
    done
    local home="$cache/tools/chromium" list libraries
    [ ! -x "$home/run" ] || { echo "$home/run"; return 0; }
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || { echo "no Chromium, and no apt-get to get it" >&2; return 1; }
    # Without root: package lists of our own, then the package and what it needs, unpacked beside each other.
    mkdir -p "$home/apt/lists/partial" "$home/apt/archives/partial" "$home/packages"
    local apt=(apt-get -q -o "Dir::State::Lists=$home/apt/lists" -o "Dir::Cache=$home/apt" -o Debug::NoLocking=1)
    "${apt[@]}" update >/dev/null || return 1
    list="$("${apt[@]}" install --simulate --no-install-recommends chromium 2>/dev/null | awk '$1 == "Inst" { print $2 }')"
    [ -n "$list" ] || { echo "no Chromium, and apt-get knows none" >&2; return 1; }
    # shellcheck disable=SC2086
    (cd "$home/packages" && "${apt[@]}" download $list >/dev/null && for name in *.deb; do dpkg-deb -x "$name" "$home"; done) || return 1
    rm -rf "$home/packages" "$home/apt"
    libraries="$(find "$home/usr/lib" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)"
    printf '#!/bin/sh\nLD_LIBRARY_PATH="%s" exec "%s" "$@"\n' "$libraries" "$home/usr/lib/chromium/chromium" >"$home/run"
    chmod +x "$home/run"
    echo "$home/run"
}

KOH_CHROMIUM="$(browser)" || skip "the files are right; against a hub they are not checked for want of a browser"
KOH_BINARY="${KOH_BINARY:-${CARGO_TARGET_DIR:-$cache/target}/release/koh}"
[ -x "$KOH_BINARY" ] || skip "the files are right; there is no hub at $KOH_BINARY to check them against (cargo build --release, or KOH_BINARY)"
export KOH_CHROMIUM KOH_BINARY
node --test hub.test.mjs
