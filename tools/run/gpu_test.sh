#!/usr/bin/env bash
# ./run gpu-test [FILTER]: the tests that need a GPU, from a bundle with tests (./run bundle --tests)
# that was brought to this machine with the repository, in build/bundle. Needs bash, tar, xz and awk. A
# table comes last; what ran where is kept in docs/gpu-runs.md. Fails when a case fails or is skipped.
#
# With FATHOM_COMPUTE_SANITIZER=PATH/compute-sanitizer the operations run under its tools instead, each for
# ten minutes at most.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tools/run/common.sh

bundle=$PWD/build/bundle/fathom
if [ -e build/bundle/fathom.tar.xz ] && [ ! "$bundle" -nt build/bundle/fathom.tar.xz ]; then
  rm -rf "$bundle"
  tar -C build/bundle -xf build/bundle/fathom.tar.xz
fi
[ -x "$bundle/bin/cuda_ops_test" ] ||
  die "there is no bundle with tests in build/bundle; make one with ./run bundle --tests"
export FATHOM_HOME=$PWD
export FATHOM_TEST_DATA=$PWD/build/test-data
mkdir -p "$FATHOM_TEST_DATA" build/gpu-test
for archive in micro-bf16 slim-fp8; do
  [ -d "$FATHOM_TEST_DATA/$archive" ] || tar -C "$FATHOM_TEST_DATA" -xf tests/data/$archive.tar.xz
done

filter=${1:-*}
table=build/gpu-test/table.txt
: >$table
failed=0

finish() {
  say
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || true
  cat $table
  exit $failed
}

if [ -n "${FATHOM_COMPUTE_SANITIZER:-}" ]; then
  # Left out: a launch that is meant to fail, and kernels of cuBLASLt.
  [ "$filter" != '*' ] || filter='-*AFailedLaunch*:CudaFastProducts*'
  for tool in memcheck initcheck synccheck racecheck; do
    log=build/gpu-test/$tool.log
    begin=$(now_ms)
    status=0
    timeout 600 "$FATHOM_COMPUTE_SANITIZER" --tool $tool --error-exitcode 9 \
      "$bundle/bin/cuda_ops_test" --gtest_filter="$filter" >"$log" 2>&1 || status=$?
    [ $status -eq 0 ] || { failed=1; grep -v "^\[" "$log" | head -n 40; }
    printf '%-12s status %3s %7s s  %s\n' $tool $status $((($(now_ms) - begin) / 1000)) \
      "$(grep "SUMMARY" "$log" | tail -n 1 | sed 's/=* *//')" >>$table
  done
  finish
fi

ran=0
for program in "$bundle"/bin/cuda_*_test; do
  name=${program##*/}
  log=build/gpu-test/$name.log
  begin=$(now_ms)
  status=0
  "$program" --gtest_filter="$filter" >"$log" 2>&1 || status=$?
  took=$(($(now_ms) - begin))
  count() { grep -Ec "^\[ *$1 *\] .*\([0-9]+ ms\)$" "$log" || true; }
  passed=$(count OK)
  skipped=$(count SKIPPED)
  wrong=$(count FAILED)
  ran=$((ran + passed + wrong))
  if [ $status -ne 0 ] || [ "$skipped" -gt 0 ] || [ "$passed" -eq 0 ]; then
    [ "$filter" != '*' ] && [ $status -eq 0 ] && [ "$skipped" -eq 0 ] || failed=1
    tail -n 60 "$log"
  fi
  printf '%-20s %3s passed %3s failed %3s skipped %7s s  status %s\n' "$name" "$passed" "$wrong" "$skipped" \
    "$((took / 1000)).$((took % 1000 / 100))" "$status" >>$table
done
[ $ran -gt 0 ] || { say "No case is called $filter."; failed=1; }
finish
