#!/usr/bin/env bash
# fuzz.sh NAME|all SECONDS: builds the fuzz targets and runs each for SECONDS from a fixed seed.
#
# Starts from the committed inputs in tests/fuzz/NAME/; new ones go to build/fuzz/corpus/NAME/.
# An input that fails is left in build/logs/fuzz/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tools/run/common.sh

only=$1
seconds=$2
mkdir -p $logs/fuzz
{ configure fuzz && build fuzz fathom_fuzzers; } >$logs/fuzz/build.log 2>&1 || {
  grep -v '^\[' $logs/fuzz/build.log | tail -n 60
  record fuzz fail 0 "build of the fuzz targets"
  die "The fuzz targets do not build; the full log is in $logs/fuzz/build.log."
}

status=0
# A target that is in no CMakeLists.txt would never run.
for source in $(repository_files 'src/*_fuzz.cc' 'tests/*_fuzz.cc'); do
  if ! grep -q "/$source\"" build/fuzz/compile_commands.json; then
    say "$source belongs to no fuzz target: name it in a fathom_fuzz() of its CMakeLists.txt."
    record fuzz fail 0 "$source belongs to a target"
    status=1
  fi
done

# run_one FUZZER: fails when the target does.
run_one() {
  local fuzzer=$1 name=${1##*/} begin corpus
  corpus=(build/fuzz/corpus/"$name")
  mkdir -p "${corpus[0]}"
  [ ! -d "tests/fuzz/$name" ] || corpus+=("tests/fuzz/$name")
  begin=$(now_ms)
  if "$fuzzer" -seed=1 -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 \
    -artifact_prefix="$logs/fuzz/$name-" "${corpus[@]}" >"$logs/fuzz/$name.log" 2>&1; then
    record fuzz pass $(($(now_ms) - begin)) "$name"
    say "$name: $seconds seconds, $(sed -n 's/^Done \([0-9]*\) runs.*/\1 inputs/p' "$logs/fuzz/$name.log"), no failure"
  else
    record fuzz fail $(($(now_ms) - begin)) "$name"
    tail -n 40 "$logs/fuzz/$name.log"
    say "$name failed. Repeat it with: $fuzzer $(ls -t "$logs"/fuzz/"$name"-* 2>/dev/null | head -n 1)"
    return 1
  fi
}

# As many at a time as there are processors.
ran=0
running=()
for fuzzer in build/fuzz/fuzzers/*; do
  name=${fuzzer##*/}
  [ -x "$fuzzer" ] && { [ "$only" = all ] || [ "$only" = "$name" ]; } || continue
  if [ ${#running[@]} -ge "$processors" ]; then
    wait "${running[0]}" || status=1
    running=("${running[@]:1}")
  fi
  ran=$((ran + 1))
  run_one "$fuzzer" &
  running+=($!)
done
for one in ${running[@]+"${running[@]}"}; do wait "$one" || status=1; done
if [ $ran -eq 0 ]; then
  [ "$only" = all ] || die "There is no fuzz target \"$only\"; these exist: $(ls build/fuzz/fuzzers 2>/dev/null | tr '\n' ' ')"
  say "There are no fuzz targets yet."
fi
exit $status
