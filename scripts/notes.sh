#!/usr/bin/env bash
# Prints the section of the changelog about a version, such as v0.1.0. It fails if there is none, if it has no date, or if it is empty.
# Usage: scripts/notes.sh VERSION
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=${1#v}
if ! grep -qE "^## \[${version//./\\.}\] - [0-9]{4}-[0-9]{2}-[0-9]{2}$" CHANGELOG.md; then
  echo "CHANGELOG.md has no section \"## [$version] - <date>\"" >&2
  exit 1
fi
notes=$(awk -v head="## [$version] - " 'index($0, "## ") == 1 { on = index($0, head) == 1; next } on' CHANGELOG.md)
if [ -z "${notes//[[:space:]]/}" ]; then
  echo "CHANGELOG.md says nothing about $version" >&2
  exit 1
fi
printf '%s\n' "$notes"
