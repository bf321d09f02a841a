# shellcheck shell=bash
# Sourced by the other tools: named steps with their duration.

# step NAME COMMAND...: runs it under a headline; a failure ends the script and names the step.
step() {
    local name=$1 begin status
    shift
    begin=$SECONDS
    printf '\n== %s\n' "$name"
    # A subshell outside of any condition, so that the first failure inside a function ends it.
    set +e
    (set -e; "$@")
    status=$?
    set -e
    if [ "$status" -ne 0 ]; then
        printf '== %s FAILED with status %d after %d s\n' "$name" "$status" $((SECONDS - begin)) >&2
        exit "$status"
    fi
    printf '== %s: %d s\n' "$name" $((SECONDS - begin))
}
