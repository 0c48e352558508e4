#!/usr/bin/env bash
# Has the modules that are nested here, and that others import, require a version of this one, once that is released, and prints their tags.
# Usage: scripts/nested.sh VERSION     (such as v0.1.0)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=$1
if ! [[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+$ ]]; then
  echo "$version is no version such as v0.1.0" >&2
  exit 1
fi
modules=(sentinel/goredis autorefresh/goredisstore otel)
# What builds here goes on with this folder: the replacements stay, and count for nobody else. The other modules come along, as they require these.
find . -mindepth 2 -name go.mod -exec dirname {} + | sort | while read -r module; do
  (cd "$module" && go mod edit -require="github.com/holdfast-go/holdfast@$version" && go mod tidy)
done
git diff --stat -- '*go.mod' '*go.sum'
echo "Commit this. Then:"
for module in "${modules[@]}"; do
  echo "git tag $module/$version"
done
