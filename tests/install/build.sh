#!/usr/bin/env bash
# Builds what checks the charts, the workflows and the Dockerfile, at the versions of go.mod, into a folder of the user's cache:
#
#   export KOH_CHART_TOOLS="$(tests/install/build.sh)"      # the folder on stdout, all else on stderr
#
#   helm  kubeconform  actionlint  schemas/*.json (strict, a kind each)  crds/*.yaml (of the Prometheus operator and the Gateway API)
#
# A module of its own beside tests/assets, so that neither has the other built anew. Needs Go (the version in go.mod, or any from 1.21
# that may fetch it) and, the first time, a module proxy. The first run costs 3 CPU-minutes and leaves 90 MB here; after that it
# costs nothing, until go.mod, go.sum, schemas/ or this script changes.
# Exits with 3 where Go is missing or too old: then these checks are skipped, which is no failure.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$here" # go reads go.mod from here

# Only their definitions of custom resources are taken. To require them would raise the versions of what is built; so their two
# lines each in go.sum are written by hand: `go mod download -json MODULE@VERSION`.
prometheus=github.com/prometheus-operator/prometheus-operator@v0.85.0
gateway=sigs.k8s.io/gateway-api@v1.6.3

say() { printf 'tests/install: %s\n' "$*" >&2; }

if command -v sha256sum >/dev/null; then sha=(sha256sum); else sha=(shasum -a 256); fi
key="$({ uname -sm; cat go.mod go.sum build.sh schemas/*.go ../assets/go.mod; } | "${sha[@]}" | cut -c 1-16)"
home="${XDG_CACHE_HOME:-${HOME:-}/.cache}/koh/install"
folder="$home/$key"

done_already() {
    [ -d "$folder" ] || return 1
    touch "$folder" # in use: see the end of this script
    printf '%s\n' "$folder"
}
if done_already; then exit 0; fi

# A go.work or flags of the user's other projects must not reach in.
export GOWORK=off GOFLAGS="" CGO_ENABLED=0
wanted="$(sed -n 's/^go //p' go.mod)"
found="$(command -v go >/dev/null && go env GOVERSION || true)" # fetches the toolchain of go.mod where that is allowed
found="${found#go}"
if [ -z "$found" ] || ! printf '%s\n' "$wanted" "$found" | sort -V -C; then
    say "cannot build helm, kubeconform and actionlint: Go ${found:-is missing or broken}${found:+ is too old}."
    say "To enable the checks that need them, put Go $wanted or newer on PATH (https://go.dev/dl) and run tests/install/build.sh."
    exit 3
fi

# Two at once: the second finds what the first has made.
mkdir -p "$home"
if command -v flock >/dev/null; then
    exec 9>"$home/lock"
    flock -n 9 || { say "another build is running; waiting for it"; flock 9; }
    if done_already; then exit 0; fi
fi

# Under another name until it is complete, so that an interrupted build leaves nothing that looks done.
building="$(mktemp -d "$home/.building-XXXXXX")"
trap 'rm -rf "$building"' EXIT
trap 'exit 130' INT TERM HUP

say "building helm, kubeconform and actionlint (once, some minutes)"
go build -mod=readonly -buildvcs=false -p 2 -trimpath -ldflags "-s -w" -o "$building/" \
    helm.sh/helm/v4/cmd/helm github.com/yannh/kubeconform/cmd/kubeconform github.com/rhysd/actionlint/cmd/actionlint >&2

# Where module $1 (a name and a version) lies in the module cache; fetches it if need be.
module_dir() { go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'; }
mkdir "$building/crds"
for kind in servicemonitors prometheusrules; do
    cp "$(module_dir "$prometheus")/example/prometheus-operator-crd/monitoring.coreos.com_$kind.yaml" "$building/crds/"
done
cp "$(module_dir "$gateway")/config/crd/standard/gateway.networking.k8s.io_httproutes.yaml" "$building/crds/"
# The schemas are those of the API server that the tests run against.
kubernetes="$(cd ../assets && module_dir "k8s.io/kubernetes@$(go list -mod=readonly -m -f '{{.Version}}' k8s.io/kubernetes)")"
go run -mod=readonly ./schemas "$kubernetes/api/openapi-spec/swagger.json" "$building/crds" "$building/schemas" >&2
chmod -R u=rwX,go=rX "$building" # mktemp's folder is private, the module cache read-only

mv "$building" "$folder"
# What was left behind by older versions and killed builds. Not what was used within a day: another checkout may need it.
find "$home" -mindepth 1 -maxdepth 1 -type d ! -path "$folder" -mmin +1440 -exec rm -rf {} +
say "built $folder ($(du -sh "$folder" | cut -f 1))"
printf '%s\n' "$folder"
