#!/usr/bin/env bash
# Builds test programs, keeps them, and runs them. test.sh and flake.sh source it; they set root, the repository's folder, and work, a temporary one.

# The same file is what go test runs in place of a test program: it keeps the program.
if [ "${1-}" = keep ]; then
  name=$(tr / _ <<<"$PWD")
  ln "$3" "$2/$name.test" 2>/dev/null || cp "$3" "$2/$name.test"
  echo "$PWD" >"$2/$name.dir"
  exit 0
fi

# build FOLDER MODULE FLAG… PACKAGE… keeps the test programs of packages of a module in a folder, and builds what has no tests. Vet is a step of its own.
# GOGC is the compiler's, which takes a quarter less of a processor so. Programs are not run here.
build() {
  local folder=$1 module=$2 out
  out="$1/${2//\//_}.out"
  shift 2
  mkdir -p "$folder"
  cd "$root/$module" && GOGC=400 go test -vet=off -exec "bash $root/scripts/programs.sh keep $folder" "$@" >"$out" 2>&1 && return
  cat "$out"
  touch "$work/failed"
}

# kept prints the folder of each package in whose program's FOLDER it was kept, and the program.
kept() {
  local file dir
  for file in "$1"/*.dir; do
    [ -e "$file" ] && read -r dir <"$file" && printf '%s %s\n' "$dir" "${file%.dir}.test"
  done
}

# computed adds up what the builtin times said of child processes: a program that waits may have others beside it.
computed() { awk 'NR == 2 { for (i = 1; i <= 2; i++) { split($i, at, /[ms]/); sum += 60 * at[1] + at[2] } } END { printf "%.0f", sum }' "$1"; }

# run PROGRAM FLAG… runs a test program in its folder, and prints what go test would, with what it says it has skipped or counted.
run() {
  local program=$1 dir name from=$SECONDS
  shift
  dir=$(cat "${program%.test}.dir")
  name="${dir#"$root"/}${*:+ $*}"
  if (
    cd "$dir" && GORACE="atexit_sleep_ms=10 ${GORACE-}" "$program" -test.paniconexit0 -test.shuffle=on -test.timeout="${timeout-10m}" "$@"
    code=$?
    times >"$program.times"
    exit $code
  ) </dev/null >"$program.out" 2>&1; then
    printf 'ok    %3d s (%4s s of a processor)  %s\n' $((SECONDS - from)) "$(computed "$program.times")" "$name"
    grep -E 'SKIPPED|[0-9] histories' "$program.out" | sort -u | head -5
    return 0
  fi
  printf 'FAIL  %3d s (%4s s of a processor)  %s\n%s\n' $((SECONDS - from)) "$(computed "$program.times")" "$name" "$(cat "$program.out")"
  touch "$work/failed"
  return 1
}

# These measure time as users would feel it, and compute more than they wait: they come last, two at a time.
measure='/(sentinel|reconnectingmemcached/memcache|cmd/cachedrill/internal/stampede)$'
# These begin, so that nobody waits for them at the end.
long='/(groupcache|groupcache/internal/store|integration/(drill|observability|groupcache|matrix|readmes)|autorefresh|sentinel|cmd/cachedrill|cmd/cachedrill/internal/(failover|staleness))$'

# planned FOLDER prints "most" or "last", and each program that was kept in a folder: what takes longest comes first.
planned() {
  kept "$1" | sort | awk -v measure="$measure" -v long="$long" '
    { line = ($1 ~ measure ? "last " : "most ") $2 }
    $1 ~ long { print line; next }
    { later = later line "\n" }
    END { printf "%s", later }'
}

# plan FOLDER writes the programs that were kept in one into $work/most and $work/last.
plan() {
  planned "$1" | awk -v work="$work" '{ print $2 > (work "/" $1) }'
  touch "$work/most" "$work/last"
}

# beside COUNT FILE COMMAND runs a command so many times side by side. It reads names of programs from the file: each one is read by one of them.
beside() {
  local n waited=()
  for ((n = 0; n < $1; n++)); do
    "$3" <&3 &
    waited+=($!)
  done 3<"$2"
  wait "${waited[@]}"
}

# lanes COMMAND runs a command with all programs that were planned. Most wait more than they compute.
lanes() {
  beside 8 "$work/most" "$1"
  beside 2 "$work/last" "$1"
}
