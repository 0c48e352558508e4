#!/usr/bin/env bash
# Builds and tests modules. A test program runs as soon as it is built, beside others, as most wait more than they compute; what is built meanwhile has a
# lower priority, and takes what they leave. The longest begin, and those that keep a processor busy run one at a time. The same programs without the race
# detector come last: they look at allocations and memory, which it would add to, and at what one goroutine computes.
# Usage: scripts/test.sh MODULE… [-- flag of go test…]     MODULE is a folder with a go.mod.
set -uo pipefail

busy='/(sentinel|reconnectingmemcached/memcache|cmd/cachedrill/internal/stampede|examples/autorefresh)$'
long='/(groupcache|groupcache/internal/(store|ring)|integration/[a-z]*|autorefresh|cmd/cachedrill|cmd/cachedrill/internal/(failover|staleness)|sentinel/internal/follow/sim)$'
lanes=3 # and one for those that are busy

# The same file is what go test runs in place of a test program: it keeps the program, and its arguments.
if [ "${1-}" = keep ]; then
  work=$2 pass=$3 program=$4
  shift 4
  rank=others
  [[ $PWD =~ $long ]] && rank=long
  [[ $PWD =~ $busy ]] && rank=busy
  name=$pass${PWD//\//_}
  ln "$program" "$work/$name.test" 2>/dev/null || cp "$program" "$work/$name.test"
  printf '%q ' "$@" >"$work/$name.args"
  echo "$PWD" >"$work/$name"
  mv "$work/$name" "$work/$rank/$name" # all of it is there
  exit 0
fi

root=$PWD
modules=()
while [ $# -gt 0 ]; do
  [ "$1" = -- ] && shift && break
  modules+=("$1")
  shift
done
work=$(mktemp -d)
mkdir "$work/busy" "$work/long" "$work/others" "$work/taken"
trap 'rm -rf "$work"' EXIT
trap 'trap - TERM; kill 0; exit 130' INT TERM

# build builds test programs of a module: its flags and packages are those of go test. Vet is a step of its own. More memory saves the compiler's collector
# some of its time.
build() {
  local module=$1 pass=$2 out="$work/$2${1//\//_}.out"
  shift 2
  cd "$root/$module" && GOGC=200 nice -n 5 go test -vet=off -exec "bash $root/scripts/test.sh keep $work $pass" "$@" >"$out" 2>&1 && return
  cat "$out"
  touch "$work/failed"
}

# builds builds all: what most others need first, and side by side at the end.
builds() {
  local module
  for module in integration .; do
    [[ " ${modules[*]} " == *" $module "* ]] && (build "$module" all "$@" ./...)
  done
  for module in "${modules[@]}"; do
    [[ $module =~ ^(integration|\.)$ ]] || (build "$module" all "$@" ./...) &
  done
  wait
  (build . plain ./autorefresh ./groupcache/internal/store ./groupcache/internal/ring)
  (build . plain -run 'Alloc|Heap|NoGetAfterARemove|ListsChangeWithoutAStampede' ./breaker ./reconnectingmemcached/memcache ./sentinel ./groupcache)
  (build . plain -v -run '^TestHistories$' ./sentinel/internal/follow/sim -histories 100000)
  (build otel plain -run Alloc .)
  echo "built in $((SECONDS - begin)) s"
  touch "$work/built"
}

# computed adds up what the builtin times said of child processes: a program that waits may have others beside it.
computed() { awk 'NR == 2 { for (i = 1; i <= 2; i++) { split($i, at, /[ms]/); sum += 60 * at[1] + at[2] } } END { printf "%.0f", sum }' "$1"; }

# run runs one test program in its folder, and prints what go test would.
run() {
  local program="$work/$1.test" dir name from=$SECONDS args
  dir=$(cat "$work/taken/$1")
  name=${dir#"$root"/}
  [[ $1 == plain_* ]] && name="$name, without the race detector"
  eval "args=($(cat "$work/$1.args"))"
  if (
    cd "$dir" && GORACE="atexit_sleep_ms=10 ${GORACE-}" "$program" -test.shuffle=on "${args[@]}"
    code=$?
    times >"$program.times"
    exit $code
  ) </dev/null >"$program.out" 2>&1; then
    printf 'ok    %3d s (%4s s of a processor)  %s\n' $((SECONDS - from)) "$(computed "$program.times")" "$name"
    [[ " ${args[*]} " == *" -test.v=true "* ]] && cat "$program.out"
    grep -E 'SKIPPED' "$program.out" | sort -u | head -5
  else
    printf 'FAIL  %3d s (%4s s of a processor)  %s\n%s\n' $((SECONDS - from)) "$(computed "$program.times")" "$name" "$(cat "$program.out")"
    touch "$work/failed"
  fi
  rm -f "$program"
}

# take takes a program of the given ranks, the first there is, and sets taken.
take() {
  local rank file
  for rank in "$@"; do
    for file in "$work/$rank"/*; do
      taken=${file##*/}
      mv "$file" "$work/taken/$taken" 2>/dev/null && return # nobody else has
    done
  done
  return 1
}

# lane runs programs of the given ranks, one after another, until all are built and have run.
lane() {
  local taken built
  while :; do
    built=$([ -e "$work/built" ] && echo yes)
    if take "$@"; then
      run "$taken"
    elif [ -n "$built" ]; then
      return
    else
      sleep .5
    fi
  done
}

begin=$SECONDS
builds "$@" &
lane busy others &
for ((n = 0; n < lanes; n++)); do lane long others & done
wait
echo "tested in $((SECONDS - begin)) s, the build included"
[ ! -e "$work/failed" ]
