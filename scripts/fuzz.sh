#!/usr/bin/env bash
# Runs every fuzz test of the module in the current folder for a while, one after another.
# Usage: scripts/fuzz.sh TIME     (such as 30s)
set -euo pipefail

list=$(go test -list '^Fuzz' ./...)
names=()
while read -r first second _; do
  case $first in
    Fuzz*) names+=("$first") ;;
    ok)
      for name in ${names[@]+"${names[@]}"}; do
        echo "== $second $name"
        go test -run '^$' -fuzz "^$name\$" -fuzztime "$1" "$second"
      done
      names=()
      ;;
  esac
done <<<"$list"
