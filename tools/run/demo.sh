#!/usr/bin/env bash
# ./run demo: builds the program and asks the bundled model three questions on this CPU. Fails unless
# the three expected answers appear.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tools/run/common.sh
[ $# -eq 0 ] || die "usage: ./run demo"

build_program

# DeepSeek-V3.2's chat form: a chat turn ends with </think>, a thinking one with <think>. The bars in
# the markers are U+FF5C.
begin='<｜begin▁of▁sentence｜><｜User｜>'
chat='<｜Assistant｜></think>'
think='<｜Assistant｜><think>'
wrong=0

# ask QUESTION MODE EXPECTED
ask() {
  local answer
  say
  say "> $1"
  answer=$("$program" generate --prompt "$begin$1$2")
  printf '%s\n' "$answer"
  case "$answer" in
    *"$3"*) ;;
    *)
      say "demo: expected an answer with \"$3\"" >&2
      wrong=$((wrong + 1))
      ;;
  esac
}

say "fathom-tiny, a chat model of DeepSeek-V3.2's architecture, on this CPU:"
ask "What is 347 + 285?" "$think" "347 + 285 = 632"
ask "What is the capital of Norway?" "$chat" "Oslo"
ask "Sort these numbers: 42, 7, 19, 3" "$chat" "3, 7, 19, 42"
say
if [ $wrong -gt 0 ]; then
  say "demo: $wrong of 3 answers were not the expected ones" >&2
  exit 1
fi
say "All three answers are right. Ask something yourself:"
say "  ./run fathom generate --prompt '${begin}tell me a joke${chat}'"
