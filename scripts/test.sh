#!/usr/bin/env bash
# Builds and tests modules. First all test programs are built, with every processor. Then most of them run eight at a time, as they wait more than
# they compute: the longest begin. Those that measure time as users would feel it, and keep processors busy, come last, two at a time. What is tested
# without the race detector computes all the time: it takes what the others leave of the processors.
# Usage: scripts/test.sh MODULE… [-- flag of go test…]     MODULE is a folder with a go.mod.
set -uo pipefail

# Without the race detector, which would add to allocations and memory, and makes tenfold of what one goroutine computes: module, package, flags.
# What takes longest comes first, so that no processor waits for it at the end.
plain='
. ./sentinel/internal/follow/sim -test.v -test.run=^TestHistories(GoEverywhere)?$ -histories=100000
. ./autorefresh
. ./groupcache -test.run=Alloc|Heap|NoGetAfterARemove
. ./groupcache/internal/store
. ./groupcache/internal/ring
. ./breaker -test.run=Alloc|Heap
. ./reconnectingmemcached/memcache -test.run=Alloc|Heap
. ./sentinel -test.run=Alloc|Heap
otel . -test.run=Alloc'

root=$PWD
modules=()
while [ $# -gt 0 ]; do
  [ "$1" = -- ] && shift && break
  modules+=("$1")
  shift
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'trap - TERM; kill 0; exit 130' INT TERM
# shellcheck source=scripts/programs.sh
source "$root/scripts/programs.sh"

# The others import the first module. They are built side by side, as most of them have a package that keeps one processor busy for long.
begin=$SECONDS
first=${modules[0]}
(build "$work/race" "$first" "$@" ./...)
for module in "${modules[@]}"; do
  [ "$module" = "$first" ] || (build "$work/race" "$module" "$@" ./...) &
done
packages() { awk -v module="$1" '$1 == module { print $2 }' <<<"$plain"; }
for module in $(awk '{ print $1 }' <<<"$plain" | sort -u); do
  # shellcheck disable=SC2046 # several packages
  (build "$work/plain" "$module" $(packages "$module")) &
done
wait
echo "built in $((SECONDS - begin)) s"

# lane runs the programs whose names and flags it reads. Several lanes may read from one file: each line is read once.
lane() {
  local program flags
  while read -r program flags; do
    # shellcheck disable=SC2086 # several flags
    run "$program" $flags
    rm -f "$program"
  done
}

# calm is a lane that takes what others leave of the processors, and has as long as that takes.
calm() {
  local me
  me=$(exec sh -c 'echo "$PPID"') # macOS' bash has no BASHPID
  renice -n 19 -p "$me" >/dev/null
  chrt --idle --pid 0 "$me" 2>/dev/null # not on macOS
  timeout=1h lane
}

plan "$work/race"
while read -r module package flags; do
  [ -z "$module" ] || printf '%s %s\n' "$work/plain/$(cd "$module/$package" && tr / _ <<<"$PWD").test" "$flags"
done <<<"$plain" >"$work/calm"
set -f # flags are patterns
beside 2 "$work/calm" calm &
computing=$!
lanes lane
wait "$computing"
set +f
echo "tested in $((SECONDS - begin)) s, the build included"
for program in "$work"/*/*.test; do # each is removed once it has ended
  [ -e "$program" ] && echo "FAIL  did not end: $(cat "${program%.test}.dir")" && touch "$work/failed"
done
[ ! -e "$work/failed" ]
