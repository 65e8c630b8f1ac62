#!/usr/bin/env bash
# Builds the object stores that the tests of backups run against - versitygw, which speaks S3 over a folder, at the version of go.mod,
# and azurite, which speaks Azure's, at that of azurite/package-lock.json - into a folder of the user's cache:
#
#   export KOH_STORES="$(tests/stores/build.sh)"      # the folder on stdout, all else on stderr
#
#   versitygw  azurite/ (where there is npm)
#
# Needs Go (the version in go.mod, or any from 1.21 that may fetch it), npm for azurite, and, the first time, a module proxy and a
# registry. The first run costs 2 CPU-minutes and leaves 60 MB here, 190 MB more with azurite; after that it costs nothing, until
# go.mod, go.sum, azurite/ or the scripts change.
# Exits with 3 where Go is missing or too old: then those tests are skipped, which is no failure.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$here" # go reads go.mod from here

advise() {
    say "To enable the tests that need it, put Go $1 or newer on PATH (https://go.dev/dl) and run tests/stores/build.sh,"
    say "or let KOH_STORES name a folder that holds versitygw."
}
. ../build_once.sh
begin "versitygw" go.mod go.sum build.sh azurite/*

say "building versitygw (once, some minutes)"
go build -mod=readonly -buildvcs=false -p 2 -trimpath -ldflags "-s -w" -o "$building/" github.com/versity/versitygw/cmd/versitygw >&2

if command -v node >/dev/null && command -v npm >/dev/null; then
    cp -r azurite "$building/"
    (cd "$building/azurite" && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
else
    say "no node and npm here, so there will be no azurite, and the tests against Azure's protocol say that they are skipped."
    say "To enable them later, delete $folder and run this again."
fi
finish
