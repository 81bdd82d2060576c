#!/usr/bin/env bash
# Proves that each check passes on a sound small tree and fails on a broken one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
repository=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0

# A small sound tree in $work/tree, of this repository's own checks and a few files.
fresh() {
  rm -rf "$work/tree"
  mkdir -p "$work"/tree/{src/base,src/text,src/app,src/backend/cpu,tests/support,docs,tools/run,reports}
  cd "$work/tree"
  git init -q .
  cp -r "$repository/tools/checks" tools/
  cp "$repository/run" .
  cp "$repository"/tools/run/{common.sh,cases.awk} tools/run/
  printf '# none\n' >tools/checks/long_files.txt
  echo 'fathom_layer(base SOURCES base.cc)' >src/base/CMakeLists.txt
  echo '#pragma once' >src/base/base.h
  printf '#include "base/base.h"\n#include <vector>\n' >src/base/base.cc
  printf 'fathom_layer(text\n  SOURCES text.cc\n  USES base)\n' >src/text/CMakeLists.txt
  printf '#include "base/base.h"\n' >src/text/text.h
  printf '#include "text/text.h"\n\n#include "base/base.h"\n' >src/text/text.cc
  printf '#include "backend/cpu/cpu.h"\n#include "support/help.h"\n' >src/text/text_test.cc
  echo '#pragma once' >src/backend/cpu/cpu.h
  printf '#include "backend/cpu/cpu.h"\n' >src/app/main.cc
  echo '    <testcase name="A" file="/x/src/text/text_test.cc" line="1" status="run" result="completed" time="0" classname="T" />' >reports/text_test.xml
  printf 'See [base](src/base/base.h), `src/text/`, `src/*/base.h` and `./run test`.\n' >README.md
}

# expect pass|fail SENTENCE COMMAND…: runs a check in the tree, which the caller has changed.
expect() {
  local wanted=$1 sentence=$2 got=pass
  shift 2
  "$@" >"$work/output" 2>&1 || got=fail
  if [ $got != "$wanted" ]; then
    echo "self-test: $sentence: the check should $wanted, but it did not. It said:"
    sed 's/^/  /' "$work/output"
    bad=1
  elif [ $got = fail ] && ! [ -s "$work/output" ]; then
    echo "self-test: $sentence: the check failed without a word."
    bad=1
  fi
  fresh
}

fresh
layers=(tools/checks/layers.sh .)
expect pass "sound includes" "${layers[@]}"
echo '#include "text/text.h"' >>src/base/base.cc
expect fail "an upward include" "${layers[@]}"
echo '#include "backend/cpu/cpu.h"' >>src/text/text.cc
expect fail "a backend seen from a layer" "${layers[@]}"
echo '#include "app/main.h"' >>src/text/text_test.cc
expect fail "a test that sees too much" "${layers[@]}"
echo '#include "support/help.h"' >>src/text/text.cc
expect fail "a test helper in a source file" "${layers[@]}"
echo '#include "base/base_testing.h"' >>src/text/text.cc
expect fail "a testing header in a source file" "${layers[@]}"
echo '#include "base.h"' >>src/base/base.cc
expect fail "a header path that names no layer" "${layers[@]}"
echo '#include <base/base.h>' >>src/text/text.cc
expect fail "a header of ours in angle brackets" "${layers[@]}"
printf 'fathom_layer(text SOURCES text.cc)\n' >src/text/CMakeLists.txt
expect fail "an include that USES does not name" "${layers[@]}"
printf 'fathom_layer(base SOURCES base.cc USES text)\n' >src/base/CMakeLists.txt
expect fail "a USES list outside the table" "${layers[@]}"
printf 'fathom_layer(words SOURCES text.cc USES base)\n' >src/text/CMakeLists.txt
expect fail "a layer under another name than its folder's" "${layers[@]}"
mkdir src/misc && echo >src/misc/misc.cc
expect fail "a folder that is no layer" "${layers[@]}"

ran=(tools/checks/tests_ran.sh . reports)
expect pass "a test that ran" "${ran[@]}"
echo >src/base/base_test.cc
expect fail "a test file in no target" "${ran[@]}"
sed -i 's/status="run"/status="notrun"/' reports/text_test.xml
expect fail "a test file whose only case is disabled" "${ran[@]}"
rm reports/*
expect fail "no report at all" "${ran[@]}"

documents=(tools/checks/documents.sh .)
expect pass "sound documents" "${documents[@]}"
echo 'Code is no link: `[&](int gone)`; a link may be code: [`base`](src/base/base.h).' >>README.md
expect pass "code that looks like a link" "${documents[@]}"
echo 'See [gone](docs/gone.md).' >>README.md
expect fail "a dead link" "${documents[@]}"
echo 'See `src/gone.h`.' >docs/page.md
expect fail "a path that is gone" "${documents[@]}"
echo 'See `src/*/gone.h`.' >>README.md
expect fail "a pattern that matches nothing" "${documents[@]}"
printf '```\n./run nonsense\n```\n' >>README.md
expect fail "an unknown command of run" "${documents[@]}"
printf '#!/bin/sh\necho "  generate  answers"\n' >program && chmod +x program
printf '```\nfathom generate\n```\n' >>README.md
expect pass "a known subcommand" env FATHOM_PROGRAM=./program "${documents[@]}"
printf '#!/bin/sh\necho "  generate  answers"\n' >program && chmod +x program
printf '```\nfathom nonsense\n```\n' >>README.md
expect fail "an unknown subcommand" env FATHOM_PROGRAM=./program "${documents[@]}"

long=(tools/checks/long_files.sh .)
expect pass "short files" "${long[@]}"
seq 601 >src/base/long.cc
expect fail "a file of 601 lines" "${long[@]}"
seq 601 >src/base/long.cc
echo 'src/base/long.cc  a table' >>tools/checks/long_files.txt
expect pass "a long file with a reason" "${long[@]}"
echo 'src/base/base.cc  was long once' >>tools/checks/long_files.txt
expect fail "a reason for a file that is short" "${long[@]}"
echo 'src/base/gone.cc' >>tools/checks/long_files.txt
expect fail "an entry without a reason" "${long[@]}"

rm -rf .git
expect fail "a folder that git does not know" "${long[@]}"
rm -rf .git
expect fail "documents that git does not know" "${documents[@]}"
expect pass "a small repository" tools/checks/size.sh .
expect fail "a large repository" env FATHOM_SIZE_LIMIT=100 tools/checks/size.sh .

[ $bad -ne 0 ] || echo "self-test: every check passes on a sound tree and fails on the broken ones."
exit $bad
