#!/usr/bin/env bash
# Prints how many of the statements of each package its tests, and those of the packages beside and above it, reach. It fails if that is below a
# percentage for one that others may import, or if a test fails.
# Usage: scripts/cover.sh PERCENT
set -uo pipefail

least=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
library='./breaker/... ./reconnectingmemcached/... ./sentinel/... ./autorefresh/... ./groupcache/... ./trace'
# shellcheck disable=SC2086
go test -count=1 -coverpkg="$(tr ' ' , <<<"$library")" -coverprofile="$work/all" $library >"$work/out" 2>&1
failed=$?
grep -vE '^(ok|\?)|coverage: ' "$work/out"

# A statement is in the profile once for each program that has it.
awk -v least="$least" '
  NR > 1 {
    split($1, at, ":"); file = at[1]; sub("/[^/]*$", "", file); sub("github.com/holdfast-go/holdfast/", "", file)
    size[$1] = $2; folder[$1] = file
    if ($3 > 0) reached[$1] = 1
  }
  END {
    for (s in size) { all[folder[s]] += size[s]; if (s in reached) some[folder[s]] += size[s] }
    for (f in all) {
      share = 100 * some[f] / all[f]
      bad = share < least && f !~ /pb$|internal\/scale$/
      printf "%6.1f %%  %s%s\n", share, f, bad ? "   below " least " %" : "" | "sort -k3"
      worst += bad
    }
    close("sort -k3")
    exit worst > 0
  }' "$work/all" || failed=1
exit $failed
