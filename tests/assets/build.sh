#!/usr/bin/env bash
# Builds the servers that the tests of Kubernetes and Flux run against - kube-apiserver, etcd and Flux's
# kustomize-controller, at the versions of go.mod - and copies Flux's CRDs, into a folder of the user's cache:
#
#   export KUBEBUILDER_ASSETS="$(tests/assets/build.sh)"      # the folder on stdout, all else on stderr
#
#   kube-apiserver  etcd  kustomize-controller  crds/*.yaml
#
# Needs Go (the version in go.mod, or any from 1.21 that may fetch it) and, the first time, a module proxy. The first
# run costs 11 CPU-minutes (about 6 minutes on 2 idle cores) and leaves 210 MB here and about 4 GB in Go's own caches, which
# `go clean -cache -modcache` frees. After that it costs nothing, until go.mod, go.sum or this script changes.
# Exits with 3 where Go is missing or too old: then those tests are skipped, which is no failure.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$here" # go reads go.mod from here

say() { printf 'tests/assets: %s\n' "$*" >&2; }

# --- is it there? ----------------------------------------------------------------------------------------------

if command -v sha256sum >/dev/null; then sha=(sha256sum); else sha=(shasum -a 256); fi
key="$({ uname -sm; cat go.mod go.sum build.sh; } | "${sha[@]}" | cut -c 1-16)"
home="${XDG_CACHE_HOME:-${HOME:-}/.cache}/koh/assets"
folder="$home/$key"

done_already() {
    [ -d "$folder" ] || return 1
    touch "$folder" # in use: see the end of this script
    printf '%s\n' "$folder"
}
if done_already; then exit 0; fi

# --- can it be built? ------------------------------------------------------------------------------------------

# A go.work or flags of the user's other projects must not reach in.
export GOWORK=off GOFLAGS="" CGO_ENABLED=0
wanted="$(sed -n 's/^go //p' go.mod)"
found="$(command -v go >/dev/null && go env GOVERSION || true)" # fetches the toolchain of go.mod where that is allowed
found="${found#go}"
if [ -z "$found" ] || ! printf '%s\n' "$wanted" "$found" | sort -V -C; then
    say "cannot build kube-apiserver, etcd and kustomize-controller: Go ${found:-is missing or broken}${found:+ is too old}."
    say "To enable the tests that need them, put Go $wanted or newer on PATH (https://go.dev/dl) and run tests/assets/build.sh,"
    say "or let KUBEBUILDER_ASSETS name a folder that holds these programs."
    exit 3
fi

# --- build -----------------------------------------------------------------------------------------------------

# Two builds at once would only slow each other down; the second finds what the first has made.
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

kubernetes="$(go list -mod=readonly -m -f '{{.Version}}' k8s.io/kubernetes)"
IFS=. read -r major minor _ <<<"${kubernetes#v}"
# What Kubernetes' own build sets; without it /version answers v0.0.0-master, and clients that look at it go astray.
stamps=()
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    stamps+=("-X $package.gitVersion=$kubernetes" "-X $package.gitMajor=$major" "-X $package.gitMinor=$minor"
        "-X $package.gitCommit=" "-X $package.gitTreeState=archive")
done

say "building kube-apiserver $kubernetes, etcd and kustomize-controller (once, some minutes)"
# Two compilers at a time: each may take a gigabyte.
go build -mod=readonly -buildvcs=false -p 2 -trimpath -ldflags "-s -w ${stamps[*]}" -o "$building/" \
    k8s.io/kubernetes/cmd/kube-apiserver go.etcd.io/etcd/server/v3 github.com/fluxcd/kustomize-controller >&2
mv "$building/server" "$building/etcd" # go names a program after the last part of its path

# Where module $1 (a name and a version) lies in the module cache; fetches it if need be.
module_dir() { go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'; }
flux=github.com/fluxcd
version_of() { go list -mod=readonly -m -f '{{.Version}}' "$flux/$1"; }
mkdir "$building/crds"
kustomize="$(module_dir "$flux/kustomize-controller@$(version_of kustomize-controller)")"
source="$(module_dir "$flux/source-controller@$(version_of source-controller/api)")" # api itself holds no CRDs
cp "$kustomize"/config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml "$building/crds/"
# All that the controller watches: it starts no work, but reports itself ready, while one of them is missing.
for plural in gitrepositories ocirepositories buckets; do
    cp "$source/config/crd/bases/source.toolkit.fluxcd.io_$plural.yaml" "$building/crds/"
done
chmod -R u=rwX,go=rX "$building" # mktemp's folder is private, the module cache read-only

mv "$building" "$folder"
# What was left behind by older versions and killed builds. Not what was used within a day: another checkout may need it.
find "$home" -mindepth 1 -maxdepth 1 -type d ! -path "$folder" -mmin +1440 -exec rm -rf {} +
say "built $folder ($(du -sh "$folder" | cut -f 1))"
printf '%s\n' "$folder"
