#!/usr/bin/env bash
# Installs the programs that the tests run, as far as they are missing and apt and the rights are there. It never fails:
# without a program its tests are skipped, or fail if HOLDFAST_REQUIRE_SERVERS is 1. No system service is started: the
# tests run their own processes.
# Usage: scripts/servers.sh install|check PROGRAM…     (memcached, redis-server, redis-sentinel, etcd, chromium, prometheus, nginx, haproxy, nutcracker); check only says what is missing.
set -uo pipefail

say() { printf 'servers: %s\n' "$*" >&2; }

has() {
  case $1 in
    chromium) command -v chromium || command -v chromium-browser || command -v google-chrome ;;
    nginx | haproxy | nutcracker) command -v "$1" || command -v "/usr/sbin/$1" ;;
    *) command -v "$1" ;;
  esac >/dev/null 2>&1
}

# package is the name of a program's package.
package() {
  case $1 in
    etcd) echo etcd-server ;;
    protoc) echo protobuf-compiler ;;
    *) echo "$1" ;;
  esac
}

mode=$1
shift
missing=()
packages=()
for program in "$@"; do
  has "$program" && continue
  missing+=("$program")
  packages+=("$(package "$program")")
done
[ ${#missing[@]} -eq 0 ] && exit 0

give_up() {
  say "$1"
  say "MISSING: ${missing[*]}. Tests that need them are skipped (they fail if HOLDFAST_REQUIRE_SERVERS=1)."
  say "Install them with: sudo apt-get install ${packages[*]}   or: brew install memcached redis etcd"
  exit 0
}

[ "$mode" = check ] && give_up "not everything could be tested"
command -v apt-get >/dev/null 2>&1 || give_up "there is no apt-get here"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  sudo -n true 2>/dev/null || give_up "installing needs root, or sudo without a password"
  as_root=(sudo -n)
fi

# Packages of servers start them as a service. policy-rc.d is what Debian asks first; one that is there already stays.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ] && printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null 2>&1; then
  trap '"${as_root[@]}" rm -f $policy' EXIT
  trap 'exit 130' INT TERM
  "${as_root[@]}" chmod 755 $policy
fi

apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get -q -o DPkg::Lock::Timeout=120 "$@" </dev/null >&2
}

say "installing ${packages[*]}"
for try in 1 2; do
  if [ "$try" -eq 2 ] || [ -z "$(ls /var/lib/apt/lists/*_Packages* 2>/dev/null)" ]; then
    apt update || say "apt-get update has failed"
  fi
  if apt install -y --no-install-recommends "${packages[@]}"; then
    break
  fi
  say "apt-get install has failed (try $try of 2)"
done

for program in "${missing[@]}"; do
  has "$program" || give_up "apt-get could not install everything"
done
say "installed ${packages[*]}"
