#!/usr/bin/env bash
# ./run test [--all]: builds, tests, checks and lints everything, and ends with "N passed, N failed".
#
# Parts run in order and a failing part does not stop the later ones, so that one run shows every
# failure. Each part leaves its output in build/logs/. Results are collected in one table, one line
# per GoogleTest case, check or fuzz target: part, outcome, milliseconds, name.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
. tools/run/common.sh

all=no
case "${1:-}" in
  "") ;;
  --all)
    all=yes
    export FATHOM_TEST_ALL=1  # tests read it to raise their counts
    ;;
  *) die "usage: ./run test [--all]" ;;
esac

rm -rf "$logs"
mkdir -p "$logs"
export FATHOM_RESULTS=$PWD/$logs/results.tsv
times=$logs/times.tsv # budget group, milliseconds, part
: >"$FATHOM_RESULTS"
: >"$times"

# part GROUP NAME COMMAND…: runs one part with its output in a log, and notes the time it took.
# A part that fails without having recorded a failure of its own counts as one.
part() {
  local group=$1 name=$2 begin took status failures word=ok
  shift 2
  local log=$logs/${name// /-}.log
  printf '%-22s ' "$name"
  failures=$(grep -c $'\tfail\t' "$FATHOM_RESULTS")
  begin=$(now_ms)
  "$@" >"$log" 2>&1 </dev/null
  status=$?
  took=$(($(now_ms) - begin))
  printf '%s\t%s\t%s\n' "$group" "$took" "$name" >>"$times"
  if [ $status -ne 0 ]; then
    word=FAILED
    [ "$(grep -c $'\tfail\t' "$FATHOM_RESULTS")" -gt "$failures" ] || record "$name" fail "$took" "$name"
  fi
  printf '%s  %d.%d s\n' "$word" $((took / 1000)) $((took % 1000 / 100))
  if [ $status -ne 0 ]; then
    if [ "$group" = fuzz ]; then tail -n 40 "$log"; else show_failure "$log"; fi | sed 's/^/    /'
    say "    (all of it: $log)"
  elif [ "$group" = lint ] || [ "$group" = fuzz ] || [ "$group" = packages ]; then
    tail -n 3 "$log" | sed 's/^/    /'
  fi
  return $status
}

# What helps most in a log: compiler errors and failing tests with a few lines after them; else its
# end.
show_failure() {
  local found
  found=$(awk '/(^|[^a-z_])(fatal )?error:|\*\*\*Failed|\*\*\*Exception|\*\*\*Timeout|Not Run|: Failure$|ERROR: |WARNING: ThreadSanitizer|check failed|CMake Error/ { left = 12 }
               left-- > 0' "$1" | head -n 80)
  if [ -n "$found" ]; then printf '%s\n' "$found"; else tail -n 40 "$1"; fi
}

# One compile error stops nothing else: what still builds is tested.
release_build() { configure release -DFATHOM_TESTS=ON -DFATHOM_BENCH=ON && build release; }
tree_build() { configure "$1" && build "$1" "${2:-all}"; }
clang_build() {
  configure release -B build/clang -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ && build clang
}

# run_tests PART TREE LABELS JOBS: runs the tests of build/TREE whose label matches, and records
# their cases. A program that fails without a failing case (it crashed, hung or does not exist)
# counts as one failure; one that leaves no cases (not a GoogleTest) counts as one test.
run_tests() {
  local part=$1 tree=$PWD/build/$2 labels=$3 jobs=$4 status wrapper=() name seconds outcome
  local programs=$tree/test-results/programs-$part.xml
  if [ "$2" = tsan ] && setarch "$(uname -m)" -R true 2>/dev/null; then
    # GCC 12's thread sanitizer cannot place its shadow under the address randomisation of recent
    # kernels.
    wrapper=(setarch "$(uname -m)" -R)
  fi
  mkdir -p "$tree/test-results"
  ${wrapper[@]+"${wrapper[@]}"} ctest --test-dir "$tree" -L "$labels" --parallel "$jobs" \
    --output-on-failure --no-tests=ignore --output-junit "$programs"
  status=$?
  sed -n 's/^[[:space:]]*<testcase name="\([^"]*\)".* time="\([^"]*\)" status="\([^"]*\)".*/\1 \2 \3/p' \
    "$programs" >"$logs/programs.txt"
  while read -r name seconds outcome; do
    record_program "$part" "$tree/test-results/$name.xml" "$name" "$seconds" "$outcome"
  done <"$logs/programs.txt"
  # Nothing may be lost between ctest's count and ours.
  if ! grep -q "tests=\"$(wc -l <"$logs/programs.txt")\"" "$programs"; then
    say "ERROR: ctest counts other tests in $programs than this script could read there."
    return 1
  fi
  return $status
}

# record_program PART REPORT NAME SECONDS OUTCOME: the results of one test program.
record_program() {
  local part=$1 report=$2 name=$3 milliseconds cases=$logs/cases.tsv
  milliseconds=$(awk -v seconds="$4" 'BEGIN { printf "%d", seconds * 1000 }')
  : >"$cases"
  [ ! -e "$report" ] || awk -v part="$part" -f tools/run/cases.awk "$report" >"$cases"
  cut -f 1-4 "$cases" >>"$FATHOM_RESULTS"
  if [ "$5" != run ]; then
    grep -q $'\tfail\t' "$cases" ||
      record "$part" fail "$milliseconds" "$name (the program: $5)"
  elif [ ! -s "$cases" ]; then
    record "$part" pass "$milliseconds" "$name"
  fi
}

# fresh_tests PART TREE LABELS JOBS: the same after forgetting the reports of earlier runs.
fresh_tests() {
  rm -rf "build/$2/test-results"
  run_tests "$@"
}

# short_tests …: fresh_tests with the counts of the normal run.
short_tests() { (unset FATHOM_TEST_ALL; fresh_tests "$@"); }

# run_check NAME COMMAND…: one check of the repository, recorded as one result.
run_check() {
  local name=$1 begin status=pass
  shift
  begin=$(now_ms)
  "$@" || { status=fail; say "FAILED: check \"$name\""; }
  record checks $status $(($(now_ms) - begin)) "$name"
  [ $status = pass ]
}

repository_checks() {
  local failed=0
  run_check "the checks can fail" tools/checks/selftest.sh || failed=1
  run_check "include edges" tools/checks/layers.sh . || failed=1
  run_check "documents name what exists" tools/checks/documents.sh . || failed=1
  run_check "length of files" tools/checks/long_files.sh . || failed=1
  run_check "size of the repository" tools/checks/size.sh . || failed=1
  return $failed
}

tests_ran() { run_check "every test file ran" tools/checks/tests_ran.sh . build/release/test-results; }

lint() {
  if [ $all = yes ]; then run_check "clang-tidy" tools/run/lint.sh --all; else run_check "clang-tidy" tools/run/lint.sh; fi
}

format() { run_check "format" tools/run/format.sh --check; }

# Changing the root takes rights that not every user and container has.
bundle() {
  local name="a bundle runs in an empty root" begin told
  begin=$(now_ms)
  if ! told=$(tools/run/bundle.sh 2>&1); then
    say "$told"
    record checks fail $(($(now_ms) - begin)) "$name"
    return 1
  fi
  say "$told"
  if grep -q "An empty root was not tried" <<<"$told"; then
    record checks skip $(($(now_ms) - begin)) "$name"
  else
    record checks pass $(($(now_ms) - begin)) "$name"
  fi
}

cuda_possible() {
  { command -v nvcc || [ -x /usr/local/cuda/bin/nvcc ]; } >/dev/null &&
    [ -e src/backend/cuda/CMakeLists.txt ] && grep -q '"name": "cuda"' CMakePresets.json
}

begin=$(now_ms)
part packages "packages" tools/run/packages.sh build test fuzz lint
part packages "python packages" tools/run/python.sh
part packages "xgrammar" tools/run/xgrammar.sh
part build "release build" release_build
part checks "checks" repository_checks
part unit "unit and oracle tests" fresh_tests unit-oracle release '^(unit|oracle)$' "$processors"
# One at a time: each starts whole processes that use all processors.
part system "system tests" run_tests system release '^system$' 1
part checks "tests that ran" tests_ran
for sanitizer in asan tsan; do
  part build "$sanitizer build" tree_build $sanitizer fathom_unit_tests
  part unit "$sanitizer unit tests" fresh_tests $sanitizer $sanitizer '^unit$' "$processors"
done
if cuda_possible; then
  part build "cuda build" tree_build cuda fathom_gpu_programs
fi
part system "bundle" bundle
if [ $all = yes ]; then
  part build "debug build" tree_build debug
  # Without optimisation the kernels are a hundred times slower: unit tests alone, in their short form.
  part unit "debug tests" short_tests debug debug '^unit$' "$processors"
  part build "clang build" clang_build
  part unit "clang tests" fresh_tests clang clang '^(unit|oracle)$' "$processors"
  part fuzz "fuzz targets" tools/run/fuzz.sh all 120
else
  part fuzz "fuzz targets" tools/run/fuzz.sh all 20
fi
part lint "format" format
part lint "lint" lint

say
say "Ten slowest tests:"
awk -F '\t' '$1 != "checks" && $1 != $4' "$FATHOM_RESULTS" | sort -t $'\t' -k 3,3nr | head -n 10 |
  awk -F '\t' '{ printf "%9.3f s  %s (%s)\n", $3 / 1000, $4, $1 }'
say
say "Time of each part:"
awk -F '\t' '{ printf "%9.1f s  %s\n", $2 / 1000, $3 }' "$times"
awk -F '\t' -v total=$(($(now_ms) - begin)) '
  BEGIN { split("build unit system lint", group, " "); split("25 8 9 3", minutes, " ") }
  { sum[$1] += $2 }
  END {
    for (i = 1; i in group; ++i) {
      over = (sum[group[i]] > minutes[i] * 60000)
      printf "%9.1f s  of %d minutes for %s%s\n", sum[group[i]] / 1000, minutes[i], group[i],
             over ? ", OVER what a machine of 2 cores may take" : ""
    }
    printf "%9.1f s  in all\n", total / 1000
  }' "$times"
skipped=$(grep -c $'\tskip\t' "$FATHOM_RESULTS")
failed=$(grep -c $'\tfail\t' "$FATHOM_RESULTS")
passed=$(grep -c $'\tpass\t' "$FATHOM_RESULTS")
if [ "$skipped" -gt 0 ]; then
  say
  say "Skipped ($skipped):"
  awk -F '\t' '$2 == "skip" { printf "  %s (%s)\n", $4, $1 }' "$FATHOM_RESULTS" | head -n 20
fi
if [ "$failed" -gt 0 ]; then
  say
  say "Failed:"
  awk -F '\t' '$2 == "fail" { printf "  %s (%s)\n", $4, $1 }' "$FATHOM_RESULTS"
fi
say
say "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
