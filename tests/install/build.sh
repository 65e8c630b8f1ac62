#!/usr/bin/env bash
# Builds what checks the charts, the workflows and the Dockerfile, at the versions of go.mod, into a folder of the user's cache:
#
#   export KOH_CHART_TOOLS="$(tests/install/build.sh)"      # the folder on stdout, all else on stderr
#
#   helm  kubeconform  actionlint  schemas/*.json (strict, a kind each)  crds/*.yaml (of the Prometheus operator and the Gateway API)
#
# A module of its own beside tests/assets, so that neither has the other built anew. Needs Go (the version in go.mod, or any from 1.21
# that may fetch it) and, the first time, a module proxy. The first run costs 3 CPU-minutes and leaves 90 MB here; after that it
# costs nothing, until go.mod, go.sum, schemas/ or the scripts change.
# Exits with 3 where Go is missing or too old: then these checks are skipped, which is no failure.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$here" # go reads go.mod from here

# Only their definitions of custom resources are taken. To require them would raise the versions of what is built; so their two
# lines each in go.sum are written by hand: `go mod download -json MODULE@VERSION`.
prometheus=github.com/prometheus-operator/prometheus-operator@v0.85.0
gateway=sigs.k8s.io/gateway-api@v1.6.3

advise() {
    say "To enable the checks that need them, put Go $1 or newer on PATH (https://go.dev/dl) and run tests/install/build.sh."
}
. ../build_once.sh
begin "helm, kubeconform and actionlint" go.mod go.sum build.sh schemas/*.go ../assets/go.mod

say "building helm, kubeconform and actionlint (once, some minutes)"
go build -mod=readonly -buildvcs=false -p 2 -trimpath -ldflags "-s -w" -o "$building/" \
    helm.sh/helm/v4/cmd/helm github.com/yannh/kubeconform/cmd/kubeconform github.com/rhysd/actionlint/cmd/actionlint >&2

mkdir "$building/crds"
for kind in servicemonitors prometheusrules; do
    cp "$(module_dir "$prometheus")/example/prometheus-operator-crd/monitoring.coreos.com_$kind.yaml" "$building/crds/"
done
cp "$(module_dir "$gateway")/config/crd/standard/gateway.networking.k8s.io_httproutes.yaml" "$building/crds/"
# The schemas are those of the API server that the tests run against.
kubernetes="$(cd ../assets && module_dir "k8s.io/kubernetes@$(go list -mod=readonly -m -f '{{.Version}}' k8s.io/kubernetes)")"
go run -mod=readonly ./schemas "$kubernetes/api/openapi-spec/swagger.json" "$building/crds" "$building/schemas" >&2
finish
