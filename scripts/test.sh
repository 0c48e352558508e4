#!/usr/bin/env bash
# Builds and tests modules. First all test programs are built, with every processor. Then most of them run eight at a time, as they wait more than
# they compute: the longest begin. Those that measure time as users would feel it, and keep both processors busy, come last, and alone.
# Usage: scripts/test.sh MODULE… [-- flag of go test…]     MODULE is a folder with a go.mod.
set -uo pipefail

# The same file is what go test runs in place of a test program: it keeps the program.
if [ "${1-}" = keep ]; then
  name=$(tr / _ <<<"$PWD")
  ln "$3" "$2/$name.test" 2>/dev/null || cp "$3" "$2/$name.test"
  echo "$PWD" >"$2/$name.dir"
  exit 0
fi

measure='/(sentinel|reconnectingmemcached/memcache|cmd/cachedrill/internal/stampede|examples/autorefresh)$'
lanes=8
# These begin, so that nobody waits for them at the end.
long='/(groupcache|groupcache/internal/(store|ring)|integration/(drill|observability|groupcache|matrix|readmes)|autorefresh|cmd/cachedrill|cmd/cachedrill/internal/(failover|staleness))$'

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

# build builds the test programs of a module, and what has no tests. Vet is a step of its own.
build() {
  local module=$1 out="$work/${1//\//_}.out"
  shift
  cd "$root/$module" && go test -vet=off "$@" -exec "bash $root/scripts/test.sh keep $work" ./... >"$out" 2>&1 && return
  cat "$out"
  touch "$work/failed"
}

# The others import the first module. They are built side by side, as most of them have a package that keeps one processor busy for long.
begin=$SECONDS
first=${modules[0]}
(build "$first" "$@")
for module in "${modules[@]}"; do
  [ "$module" = "$first" ] || (build "$module" "$@") &
done
wait
cd "$root" || exit 1
echo "built in $((SECONDS - begin)) s"

# computed adds up what the builtin times said of child processes: a program that waits may have others beside it.
computed() { awk 'NR == 2 { for (i = 1; i <= 2; i++) { split($i, at, /[ms]/); sum += 60 * at[1] + at[2] } } END { printf "%.0f", sum }' "$1"; }

# run runs one test program in its folder, and prints what go test would.
run() {
  local program=$1 dir name from=$SECONDS
  dir=$(cat "${program%.test}.dir")
  name=${dir#"$root"/}
  if (
    cd "$dir" && GORACE="atexit_sleep_ms=10 ${GORACE-}" "$program" -test.paniconexit0 -test.shuffle=on -test.timeout=10m
    code=$?
    times >"$program.times"
    exit $code
  ) </dev/null >"$program.out" 2>&1; then
    printf 'ok    %3d s (%4s s of a processor)  %s\n' $((SECONDS - from)) "$(computed "$program.times")" "$name"
    grep -E 'SKIPPED' "$program.out" | sort -u | head -5
  else
    printf 'FAIL  %3d s (%4s s of a processor)  %s\n%s\n' $((SECONDS - from)) "$(computed "$program.times")" "$name" "$(cat "$program.out")"
    touch "$work/failed"
  fi
  rm -f "$program"
}

# lane runs the programs whose names it reads. Several lanes may read from one file: each name is read once.
lane() {
  local program
  while read -r program; do run "$program"; done
}

kept() { for file in "$work"/*.dir; do [ -e "$file" ] && printf '%s %s\n' "$(cat "$file")" "${file%.dir}.test"; done; }
kept | sort | awk -v measure="$measure" -v long="$long" -v work="$work" '
  { file = $1 ~ measure ? "alone" : "most" }
  $1 ~ long { print $2 > (work "/" file); next }
  { later[file] = later[file] $2 "\n" }
  END { for (file in later) printf "%s", later[file] > (work "/" file) }'
touch "$work/most" "$work/alone"
{
  for ((n = 0; n < lanes; n++)); do lane & done
  wait
} <"$work/most"
lane <"$work/alone"
echo "tested in $((SECONDS - begin)) s, the build included"
for program in "$work"/*.test; do # each is removed once it has ended
  [ -e "$program" ] && echo "FAIL  did not end: $(cat "${program%.test}.dir")" && touch "$work/failed"
done
[ ! -e "$work/failed" ]
