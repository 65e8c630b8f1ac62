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
# `go clean -cache -modcache` frees. After that it costs nothing, until go.mod, go.sum or the scripts change.
# Exits with 3 where Go is missing or too old: then those tests are skipped, which is no failure.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$here" # go reads go.mod from here

advise() {
    say "To enable the tests that need them, put Go $1 or newer on PATH (https://go.dev/dl) and run tests/assets/build.sh,"
    say "or let KUBEBUILDER_ASSETS name a folder that holds these programs."
}
. ../build_once.sh
begin "kube-apiserver, etcd and kustomize-controller" go.mod go.sum build.sh

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
finish
