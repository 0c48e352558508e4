#!/usr/bin/env bash
# Runs every fuzz test of the module in the current folder for a while, one after another, all of them even if one fails.
# Usage: scripts/fuzz.sh TIME     (such as 30s)
set -euo pipefail

list=$(go test -list '^Fuzz' ./...)
names=()
failed=0
while read -r first second _; do
  case $first in
    Fuzz*) names+=("$first") ;;
    ok)
      for name in ${names[@]+"${names[@]}"}; do
        echo "== $second $name"
        go test -run '^$' -fuzz "^$name\$" -fuzztime "$1" "$second" || failed=1
      done
      names=()
      ;;
  esac
done <<<"$list"
exit $failed
