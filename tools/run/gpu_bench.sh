#!/usr/bin/env bash
# ./run gpu-bench: the benchmarks that need a GPU, from a bundle with tests (./run bundle --tests) in
# build/bundle, as ./run gpu-test. A short table comes last; figures worth keeping go to docs/benchmarks.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tools/run/common.sh

bundle=$PWD/build/bundle/fathom
if [ -e build/bundle/fathom.tar.xz ] && [ ! "$bundle" -nt build/bundle/fathom.tar.xz ]; then
  rm -rf "$bundle"
  tar -C build/bundle -xf build/bundle/fathom.tar.xz
fi
export FATHOM_HOME=$PWD
found=no
status=0
for program in "$bundle"/bin/cuda_*_bench; do
  [ -x "$program" ] || continue
  found=yes
  say "== ${program##*/}"
  "$program" "$@" || status=1
done
[ $found = yes ] || die "there is no bundle with tests in build/bundle; make one with ./run bundle --tests"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || true
exit $status
