#!/usr/bin/env bash
# packages.sh GROUP…: installs what is missing of the groups in tools/packages.txt.
#
# Says what and why first. Never removes a package: the installation is simulated, and one that
# would remove something is refused. Where nothing can be installed (no apt, no rights) it says what
# is missing and lets the build go on with what is there.
# Exit status: 0 done or left alone, 1 refused or failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tools/run/common.sh

# Lines "group package".
wanted() {
  awk '/^#/ || NF == 0 { next }
       /^\[/ { group = substr($1, 2, length($1) - 2); next }
       { for (i = 1; i <= NF; ++i) print group, $i }' tools/packages.txt
}

reason() { sed -n "s/^\[$1\] *//p" tools/packages.txt; }

installed() {
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

packages=$(wanted | awk -v groups=" $* " 'index(groups, " " $1 " ") { print $2 }')
if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  command -v cmake >/dev/null && command -v g++ >/dev/null && exit 0
  say "This is no Debian system (no apt-get). Install what these Debian packages hold:" $packages
  exit 0
fi

missing=()
for package in $packages; do
  installed "$package" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

for group in "$@"; do
  list=$(wanted | awk -v group="$group" '$1 == group { print $2 }' | grep -Fx -f <(printf '%s\n' "${missing[@]}") || true)
  [ -z "$list" ] || say "Missing Debian packages ($(reason "$group")):" $list
done

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  # A password can be asked for only where there is a terminal.
  if ! command -v sudo >/dev/null || { [ ! -t 2 ] && ! sudo -n true 2>/dev/null; }; then
    say "They cannot be installed without root or sudo. As root, run:"
    say "  apt-get install --no-install-recommends ${missing[*]}"
    exit 0
  fi
  as_root=(sudo)
fi

apt_get() {
  ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
    -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confdef \
    -o Dpkg::Options::=--force-confold --no-install-recommends "$@" </dev/null
}

# The package lists may be absent (fresh container) or too old to fetch from: refresh once.
refreshed=no
refresh() {
  [ "$refreshed" = no ] || return 1
  refreshed=yes
  say "Refreshing the package lists."
  apt_get update >/dev/null || say "apt-get update failed; going on with the lists that are there."
}

# Prints the plan of apt-get; status 1 when apt cannot make one.
simulate() { apt_get -s install "${missing[@]}" 2>&1; }

plan=$(simulate) || { refresh && plan=$(simulate); } ||
  { say "$plan" | tail -n 8; die "apt-get cannot install ${missing[*]}: see above."; }

refuse_removals() {
  local removed
  removed=$(awk '$1 == "Remv" { print $2 }' <<<"$plan" | tr '\n' ' ')
  [ -z "$removed" ] || die "Installing ${missing[*]} would remove ${removed% }, which conflicts with" \
    "them. Nothing was changed. Resolve the conflict by hand, then run this again."
}

refuse_removals
say "Installing them with apt-get."
if ! apt_get --no-remove install "${missing[@]}" >/dev/null; then
  refresh || die "apt-get install failed: see above."
  plan=$(simulate) || die "apt-get cannot install ${missing[*]} after a refresh of its lists."
  refuse_removals
  apt_get --no-remove install "${missing[@]}" >/dev/null || die "apt-get install failed twice: see above."
fi
