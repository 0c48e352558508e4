#!/usr/bin/env bash
# Generates what is generated, with the versions that are pinned here, and fails if that changes a file.
# Usage: scripts/generate.sh BIN     BIN is where tools are installed.
set -euo pipefail

protoc_version=3.21.12 # Debian 12's and Ubuntu 24.04's
protoc_gen_go=v1.36.8

if ! command -v protoc >/dev/null; then
  bash "$(dirname "$0")/servers.sh" install protoc
fi
if ! command -v protoc >/dev/null || [ "$(protoc --version)" != "libprotoc $protoc_version" ]; then
  echo "protoc $protoc_version is needed (apt install protobuf-compiler), not $(protoc --version 2>&1 | head -1)" >&2
  exit 1
fi
state() { (git diff && git ls-files --others --exclude-standard) | cksum; }
before=$(state)
GOBIN=$1 go install "google.golang.org/protobuf/cmd/protoc-gen-go@$protoc_gen_go"
PATH="$1:$PATH" go generate ./...
if [ "$(state)" != "$before" ]; then
  git status --short
  echo 'Generated files have changed: commit them.' >&2
  exit 1
fi
