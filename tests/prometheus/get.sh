#!/usr/bin/env bash
# Finds prometheus and promtool for the tests of metrics and alert rules, and prints the folder that holds them:
#
#   export KOH_PROMETHEUS="$(tests/prometheus/get.sh)"      # the folder on stdout, all else on stderr
#
# Those on PATH are taken; else Debian's package is downloaded (19 MB, no root needed) and unpacked into the user's cache, once.
# Exits with 3 where neither can be had: then those tests are skipped, which is no failure.
set -euo pipefail

say() { printf 'tests/prometheus: %s\n' "$*" >&2; }

if command -v promtool >/dev/null && command -v prometheus >/dev/null; then
    dirname "$(command -v promtool)"
    exit
fi
home="${XDG_CACHE_HOME:-${HOME:-}/.cache}/koh/tools/prometheus"
done_already() { [ -x "$home/usr/bin/promtool" ] && printf '%s\n' "$home/usr/bin"; }
if done_already; then exit; fi

if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    say "no prometheus and promtool on PATH, and no apt-get and dpkg-deb to fetch them with."
    say "To enable the tests that need them, put both on PATH (https://prometheus.io/download)."
    exit 3
fi

# Two at once: the second finds what the first has made.
mkdir -p "$(dirname "$home")"
if command -v flock >/dev/null; then
    exec 9>"$home.lock"
    flock 9
    if done_already; then exit; fi
fi
# Under another name until it is complete, so that an interrupted run leaves nothing that looks done.
getting="$(mktemp -d "$home.XXXXXX")"
trap 'rm -rf "$getting"' EXIT
trap 'exit 130' INT TERM HUP

# Package lists of its own where the machine has none, or old ones: the system's cannot be renewed without root.
lists=(-o "Dir::State::Lists=$getting/lists" -o "Dir::Cache=$getting/cache" -o "Debug::NoLocking=1")
mkdir -p "$getting/lists/partial" "$getting/cache/archives/partial"
download() { (cd "$getting" && apt-get "$@" -q download prometheus) >"$getting/log" 2>&1; }
if ! download && ! { apt-get "${lists[@]}" -q update >"$getting/log" 2>&1 && download "${lists[@]}"; }; then
    say "Debian's package prometheus cannot be downloaded here: $(grep -m 1 '^E:' "$getting/log" || tail -n 1 "$getting/log")"
    say "To enable the tests that need it, put prometheus and promtool on PATH (https://prometheus.io/download)."
    exit 3
fi
dpkg-deb -x "$getting"/prometheus_*.deb "$getting/package"
rm -rf "$home"
mv "$getting/package" "$home"
say "unpacked $("$home/usr/bin/promtool" --version 2>&1 | head -n 1)"
done_already
