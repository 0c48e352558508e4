#!/usr/bin/env bash
# Runs the tests of modules in rounds, in random order, with the race detector, side by side as in test.sh, while a loop takes a processor away:
# tests that fail now and then fail here. The output of each failure is kept; a table is printed in the end, and when the run is interrupted.
# With HESITATE=1, which needs Linux, goroutines take naps between any two statements, see internal/testutil/hesitate. What only slow machines see is
# seen within a few rounds; but tests that compare speeds may fail, with nothing wrong.
# Usage: scripts/flake.sh ROUNDS FOLDER PATTERN MODULE…     FOLDER takes the output; folders of packages match the pattern, an extended one.
set -uo pipefail

root=$PWD rounds=$1 folder=$2 pattern=$3
shift 3
mkdir -p "$folder"
work=$(mktemp -d)
# shellcheck source=scripts/programs.sh
source "$root/scripts/programs.sh"

# table prints a line for each package: its rounds, its failures, the longest one, and which tests have failed with which seeds of -shuffle.
table() {
  local row='%-56s %6s %8s %8s  %s\n'
  # shellcheck disable=SC2059
  printf "$row" package rounds failures 'longest s' 'failed tests, and the seeds of -shuffle'
  sort "$work/rounds" | awk -F '\t' -v row="$row" '
    function flush() { if (name != "") printf row, name, rounds, failures, longest, notes }
    $1 != name { flush(); name = $1; rounds = failures = longest = 0; notes = "" }
    { rounds++; if ($2 > longest) longest = $2 }
    $3 != "" { failures++; notes = notes (notes == "" ? "" : "; ") $3 }
    END { flush() }'
}

trap 'rm -rf "$work"' EXIT
trap 'table; trap - TERM; kill 0; exit 130' INT TERM
: >"$work/rounds"
for module in "$@"; do
  packages=()
  while read -r dir; do packages+=("$dir"); done < <(cd "$module" && go list -f '{{.Dir}}' ./... | grep -E "^$root.*($pattern)")
  [ ${#packages[@]} -gt 0 ] || continue
  flags=(-race)
  if [ -n "${HESITATE-}" ]; then
    mkdir -p "$work/naps/$module"
    go run ./internal/testutil/hesitate "$work/naps/$module" "${packages[@]}" >"$work/naps/$module.json" || exit 1
    flags+=(-overlay "$work/naps/$module.json")
  fi
  (build "$work/race" "$module" "${flags[@]}" "${packages[@]}")
done
[ ! -e "$work/failed" ] || exit 1 # the output says what does not build
plan "$work/race"

# note keeps what a run said of a package, in a line of the table.
note() {
  local program=$1 outcome=$2 took=$3 name seed tests failed=
  name=$(cat "${program%.test}.dir")
  name=${name#"$root"/}
  if [ "$outcome" -ne 0 ]; then
    seed=$(sed -n 's/^-test.shuffle //p' "$program.out" | head -1)
    tests=$(sed -n 's/^--- FAIL: \([^ ]*\).*/\1/p' "$program.out" | sort -u | paste -sd, -)
    failed="${tests:-no test named} ($seed)"
    cp "$program.out" "$folder/$(tr '/.' '__' <<<"$name")-$seed.log"
  fi
  printf '%s\t%s\t%s\n' "$name" "$took" "$failed" >>"$work/rounds"
}

# lane runs the programs whose names it reads.
lane() {
  local program from
  while read -r program; do
    from=$SECONDS
    run "$program" >"$program.said"
    note "$program" $? $((SECONDS - from))
    grep -A 20 '^FAIL' "$program.said"
  done
}

burn() { while :; do :; done; }
burn &
burner=$!
for ((round = 1; round <= rounds; round++)); do
  begin=$SECONDS
  lanes lane
  echo "round $round of $rounds: $((SECONDS - begin)) s"
done
kill "$burner"
table
if [ -e "$work/failed" ]; then
  echo "there were failures; the output is in $folder" >&2
  exit 1
fi
