#!/usr/bin/env bash
# prometheus.sh: fetches Debian's package of Prometheus for the test that scrapes a running server,
# unpacks it below build/prometheus and prints the program's path. Quick when it is there already.
#
# It is not installed: that would start a service that listens, and take root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tools/run/common.sh

program=build/prometheus/usr/bin/prometheus
if [ ! -x $program ]; then
  { command -v apt-get && command -v dpkg-deb; } >/dev/null ||
    die "This is no Debian system (no apt-get): put a Prometheus 2 or later at $program."
  rm -rf build/prometheus
  mkdir -p build/prometheus/package
  # apt checks the package's signature and sum.
  fetch() { (cd build/prometheus/package && apt-get -q download prometheus >&2); }
  fetch || { apt-get -q update >&2 && fetch; } || die "apt-get cannot fetch the package prometheus: see above."
  dpkg-deb -x build/prometheus/package/prometheus_*.deb build/prometheus
  rm -rf build/prometheus/package
fi
say "$PWD/$program"
