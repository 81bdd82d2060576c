#!/usr/bin/env bash
# tests_ran.sh ROOT REPORTS: every *_test.cc has a case that ran, by the GoogleTest reports
# (*.xml) that the test programs left in the folder REPORTS. Those of backend/cuda and
# tests/gpu run where there is a GPU, and leave their results in docs/gpu-runs.md.
set -euo pipefail
cd "$1"
reports=$2

shopt -s nullglob
ran=$(for report in "$reports"/*.xml; do awk -f tools/run/cases.awk "$report"; done | cut -f 5 | sort -u)
bad=0
count=0
while IFS= read -r source; do
  count=$((count + 1))
  # A report names a source as the compiler was given it: by its full path.
  if ! grep -q -e "/$source\$" -e "^$source\$" <<<"$ran"; then
    echo "$source: none of its cases ran. Name it in a fathom_test() of its CMakeLists.txt, give it a case, or mend the build."
    bad=1
  fi
done < <(find src tests -name '*_test.cc' -not -path 'src/backend/cuda/*' -not -path 'tests/gpu/*' | sort)
[ $bad -ne 0 ] || echo "tests: cases of all $count test files ran."
exit $bad
