#!/usr/bin/env bash
# Builds and tests modules. Once the programs of the first ones are built, most of them run eight at a time, as they wait more than they compute: the
# longest begin. The others are built meanwhile. Those that measure time as users would feel it, and keep processors busy, come last, two at a time. What
# is tested without the race detector computes all the time: it takes what the others leave of the processors.
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

# The others import the first module. The second has the tests that take longest. What is built after these is built beside their tests.
begin=$SECONDS
mkdir -p "$work/race" "$work/plain"
(build "$work/race" "${modules[0]}" "$@" ./...)
for module in "${modules[@]:1:1}"; do
  (build "$work/race" "$module" "$@" ./...) &
done
for module in $(awk '{ print $1 }' <<<"$plain" | sort -u); do
  # shellcheck disable=SC2046 # several packages
  (build "$work/plain" "$module" $(awk -v module="$module" '$1 == module { print $2 }' <<<"$plain")) &
done
wait
echo "most is built in $((SECONDS - begin)) s"
(
  for module in "${modules[@]:2}"; do
    (build "$work/race" "$module" "$@" ./...)
  done
  touch "$work/built"
) &

# It builds programs of its own, of what is in the other modules: that would be built twice.
builder='/[^/]*_integration_readmes\.test$'

# take names a program that no lane has taken yet. While some are being built it waits for one.
take() {
  local built when program
  while :; do
    built=no
    [ -e "$work/built" ] && built=yes
    while read -r when program; do
      [[ $built = no && $program =~ $builder ]] && continue
      [ "$when" = most ] && [ ! -e "$program.taken" ] && mkdir "$program.taken" 2>/dev/null && echo "$program" && return
    done < <(planned "$work/race")
    [ $built = no ] || return
    sleep 1
  done
}

# lane runs one program after another.
lane() {
  local program
  while program=$(take) && [ -n "$program" ]; do
    run "$program"
    rm -f "$program"
  done
}

# last runs the programs whose names it reads. Several may read from one file: each line is read once.
last() {
  local program flags
  set -f # flags are patterns
  while read -r program flags; do
    # shellcheck disable=SC2086 # several flags
    run "$program" $flags
    rm -f "$program"
  done
}

# calm does so with what others leave of the processors, and has as long as that takes.
calm() {
  local me
  me=$(exec sh -c 'echo "$PPID"') # macOS' bash has no BASHPID
  renice -n 19 -p "$me" >/dev/null
  chrt --idle --pid 0 "$me" 2>/dev/null # not on macOS
  timeout=1h last
}

while read -r module package flags; do
  [ -z "$module" ] || printf '%s %s\n' "$work/plain/$(cd "$module/$package" && tr / _ <<<"$PWD").test" "$flags"
done <<<"$plain" >"$work/calm"
beside 2 "$work/calm" calm &
computing=$!
beside 8 /dev/null lane
plan "$work/race"
beside 2 "$work/last" last
wait "$computing"
echo "tested in $((SECONDS - begin)) s, the build included"
for program in "$work"/*/*.test; do # each is removed once it has ended
  [ -e "$program" ] && echo "FAIL  did not end: $(cat "${program%.test}.dir")" && touch "$work/failed"
done
[ ! -e "$work/failed" ]
