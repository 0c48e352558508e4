#!/usr/bin/env bash
# Builds and tests the module in the current folder. Packages whose tests measure time, or run servers that do, are tested one after another; of the
# others two at a time: most of their time they wait.
# Usage: scripts/test.sh [flag of go test…]
set -uo pipefail

alone='/(breaker|reconnectingmemcached|sentinel|internal/testutil|cmd/cachedrill|bench|integration|examples|autorefresh/[a-z]*store)(/|$)|/groupcache$'

go build -o /dev/null "$@" ./... || exit 1 # a program that is alone in its module would be written into it
packages=$(go list ./...) || exit 1
status=0
run() { # run SIDE-BY-SIDE PACKAGE…
  local n=$1
  shift
  [ $# -eq 0 ] || go test "${flags[@]}" -shuffle=on -p "$n" "$@" || status=1
}
flags=("$@")
mapfile -t together < <(grep -vE "$alone" <<<"$packages")
mapfile -t one_by_one < <(grep -E "$alone" <<<"$packages")
run 2 "${together[@]}"
run 1 "${one_by_one[@]}"
exit $status
