#!/usr/bin/env bash
# Runs the tests of every package of one module again and again, in random order, with the race detector, while a loop takes a processor away:
# tests that fail now and then fail here. Packages run one after the other; the output of each failure is kept.
# Usage: scripts/flake.sh ROUNDS FOLDER [PACKAGE…]     in the module's folder; FOLDER takes the output.
set -uo pipefail

rounds=$1 folder=$2
shift 2
[ $# -gt 0 ] || set -- ./...
mkdir -p "$folder"
work=$(mktemp -d)
burner=
trap '[ -z "$burner" ] || kill "$burner" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

burn() { while :; do :; done; }
burn &
burner=$!

row='%-56s %6s %8s %8s  %s\n'
failures=0
# shellcheck disable=SC2059
printf "$row" package rounds failures 'longest s' 'failed tests, and the seeds of -shuffle'
while read -r dir package; do
  if ! go test -race -c -o "$work/test" "$package" >"$work/build" 2>&1; then
    printf '%s does not build:\n' "$package"
    cat "$work/build"
    failures=$((failures + 1))
    continue
  fi
  [ -x "$work/test" ] || continue # no tests
  failed=0 longest=0 notes=()
  for ((round = 1; round <= rounds; round++)); do
    begin=$SECONDS
    if ! (cd "$dir" && "$work/test" -test.shuffle=on -test.timeout=15m) >"$work/out" 2>&1; then
      failed=$((failed + 1))
      seed=$(sed -n 's/^-test.shuffle //p' "$work/out" | head -1)
      tests=$(sed -n 's/^--- FAIL: \([^ ]*\).*/\1/p' "$work/out" | sort -u | paste -sd, -)
      notes+=("${tests:-no test named} ($seed)")
      cp "$work/out" "$folder/$(tr '/.' '__' <<<"$package")-$seed.log"
    fi
    took=$((SECONDS - begin))
    [ "$took" -le "$longest" ] || longest=$took
  done
  # shellcheck disable=SC2059
  printf "$row" "${package#github.com/holdfast-go/holdfast/}" "$rounds" "$failed" "$longest" "$(IFS=';'; echo "${notes[*]-}")"
  failures=$((failures + failed))
  rm -f "$work/test"
done < <(go list -f '{{.Dir}} {{.ImportPath}}' "$@")

if [ "$failures" -gt 0 ]; then
  echo "$failures failures; the output is in $folder" >&2
  exit 1
fi
