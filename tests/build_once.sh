# For the scripts that build programs of Go for the tests; they source it from their own folder, whose go.mod is meant, and have
# a function `advise` that says, given the version of Go that is wanted, how to go on without one.
#
# What was built before is found, two builds at once are one, and what is half done never looks done.

say() { printf 'tests/%s: %s\n' "$(basename "$PWD")" "$*" >&2; }

# Ends the script with the folder that is there already; else makes ready for a build of $1 into $building. The other arguments
# are the files on which the result hangs. Exits with 3 where Go is missing or too old.
begin() {
    local programs="$1" sha key wanted found
    shift
    if command -v sha256sum >/dev/null; then sha=(sha256sum); else sha=(shasum -a 256); fi
    key="$({ uname -sm; cat "$@" ../build_once.sh; } | "${sha[@]}" | cut -c 1-16)"
    home="${XDG_CACHE_HOME:-${HOME:-}/.cache}/koh/$(basename "$PWD")"
    folder="$home/$key"
    if done_already; then exit 0; fi

    # A go.work or flags of the user's other projects must not reach in.
    export GOWORK=off GOFLAGS="" CGO_ENABLED=0
    wanted="$(sed -n 's/^go //p' go.mod)"
    found="$(command -v go >/dev/null && go env GOVERSION || true)" # fetches the toolchain of go.mod where that is allowed
    found="${found#go}"
    if [ -z "$found" ] || ! printf '%s\n' "$wanted" "$found" | sort -V -C; then
        say "cannot build $programs: Go ${found:-is missing or broken}${found:+ is too old}."
        advise "$wanted"
        exit 3
    fi

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
}

done_already() {
    [ -d "$folder" ] || return 1
    touch "$folder" # in use: see finish
    printf '%s\n' "$folder"
}

# Where module $1 (a name and a version) lies in the module cache; fetches it if need be.
module_dir() { go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'; }

# Puts what was built in its place, and prints where that is.
finish() {
    chmod -R u=rwX,go=rX "$building" # mktemp's folder is private, the module cache read-only
    mv "$building" "$folder"
    # What was left behind by older versions and killed builds. Not what was used within a day: another checkout may need it.
    find "$home" -mindepth 1 -maxdepth 1 -type d ! -path "$folder" -mmin +1440 -exec rm -rf {} +
    say "built $folder ($(du -sh "$folder" | cut -f 1))"
    printf '%s\n' "$folder"
}
