#!/usr/bin/env bash
# Follows versions of the demo fleet from dev over stage to prod, asking at each gate as a pipeline would, until one has come all
# the way. A version that fails, stalls, is overtaken or never arrives gives way to the newest one then in dev.
#
#   koh demo --speed 600 & tests/promotion.sh      # KOH_URL names the hub, KOH the program
#
# The clock of the fleet runs faster than ours, hence the short spans; some demo hosts never report or are silent now and then,
# hence the policy.
set -euo pipefail
koh="${KOH:-koh}"
policy=(--min-success-percent 75 --silent ignore --failure-grace 3s --unknown-grace 20s --timeout 60s)

# The newest version in dev of which we have not asked yet: workload and version.
newest() {
    "$koh" sql --output csv "SELECT workload || ' ' || version FROM assignments WHERE environment = 'dev' AND ended_at IS NULL
        ORDER BY assigned_at DESC, workload LIMIT 10" | tail -n +2 | tr -d '"' | grep --fixed-strings --line-regexp --invert-match \
        --max-count 1 --regexp "$tried" || true
}

# The same, once there is one: a fleet may have just begun, and SQL sees what was said within seconds.
next() {
    local found=""
    for _ in {1..40}; do
        found="$(newest)"
        [ -z "$found" ] || break
        sleep 0.25
    done
    echo "$found"
}

# One gate of the pipeline; an exit code that is no verdict about this version ends the test.
gate() {
    local environment="$1" code=0
    shift
    "$koh" rollout wait --environment "$environment" --workload "$workload" --version "$version" "${policy[@]}" "$@" || code=$?
    case $code in
        0) return 0 ;;
        1 | 3 | 4 | 6) return 1 ;;
        *) echo "$environment: koh exits with $code" >&2; exit "$code" ;;
    esac
}

tried=""
for attempt in 1 2 3 4 5 6 7 8; do
    read -r workload version <<< "$(next)"
    [ -n "$version" ] || { echo "there is no version in dev that was not tried" >&2; exit 1; }
    tried+=$'\n'"$workload $version"
    echo "== attempt $attempt: $workload $version"
    if gate dev && gate stage --after dev && gate prod --after stage; then
        echo "promoted: $workload $version"
        exit 0
    fi
    echo "not promoted: $workload $version"
done
exit 1
