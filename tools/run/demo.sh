#!/usr/bin/env bash
# ./run demo [--once]: builds the program, starts a server with the bundled model on this CPU, asks it
# some questions through its OpenAI API and leaves it running until Ctrl-C. With --once the server is
# ended, and the exit status says whether the answers were the expected ones, and whether the prefix
# cache and the drafts did their part.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tools/run/common.sh

once=no
case "${1:-}" in
  "") ;;
  --once) once=yes ;;
  *) die "usage: ./run demo [--once]" ;;
esac

build_program

server=
log=$logs/demo-server.log

stop_server() {
  [ -z "$server" ] && return
  kill -TERM "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
  server=
}
trap stop_server EXIT
trap 'say; say "Ending the server."; exit 0' INT TERM

# start_server PORT: succeeds when the server has answered its first request.
start_server() {
  : >"$log"
  "$program" launch_server --port "$1" --random-seed 1 \
    --reasoning-parser auto --tool-call-parser auto \
    --speculative-algorithm EAGLE --speculative-num-steps 1 --speculative-eagle-topk 1 \
    --speculative-num-draft-tokens 2 --speculative-off-switch never \
    --decode-log-interval 10 >"$log" 2>&1 &
  server=$!
  until grep -q "ready to roll" "$log"; do
    if ! kill -0 "$server" 2>/dev/null; then
      server=
      return 1
    fi
    sleep 0.05
  done
}

say "Starting fathom launch_server with fathom-tiny, a chat model of DeepSeek-V3.2's architecture, on this CPU."
if ! start_server 30000; then
  # The usual port is someone else's.
  grep -q "another program listens" "$log" && start_server 0 ||
    { tail -n 5 "$log" >&2; die "the server did not start; its log is $log"; }
fi
url=$(sed -n 's/.*Listening on \(http:[^ ]*\).*/\1/p' "$log")

wrong=0
# ask EXPECTED QUESTION [OPTION…]: shows the answer as it comes.
ask() {
  local expected=$1 question=$2 copy=$logs/demo-answer.txt
  shift 2
  say
  say "> $question"
  "$program" chat "$url" --once "$question" "$@" | tee "$copy" || true
  if ! grep -qF "$expected" "$copy"; then
    say "demo: expected an answer with \"$expected\"" >&2
    wrong=$((wrong + 1))
  fi
}

ask "347 + 285 = 632" "What is 347 + 285?" --thinking --show-thinking
ask "Oslo" "What is the capital of Norway?"
ask "Mira" "Write a short story about a fox named Mira in a village."
# One conversation: its second question brings the first and its answer along.
say
say "> Tell me a story. … And what is the capital of Norway?"
printf '%s\n' "Write a short story about a fox named Mira in a village." "What is the capital of Norway?" |
  "$program" chat "$url" | tail -n 1 | tee "$logs/demo-answer.txt" || true
if ! grep -qF "Oslo" "$logs/demo-answer.txt"; then
  say "demo: expected an answer with \"Oslo\"" >&2
  wrong=$((wrong + 1))
fi
say
awk -F '[:,] *' '
  # "…, #new-token: 48, #cached-token: 64, …" and "…, accept len: 1.90, …": values follow their names.
  { for (i = 1; i < NF; ++i) value[$i] = $(i + 1) }
  /Prefill batch/ { new = value["#new-token"]; cached = value["#cached-token"] }
  /Decode batch/ { sum += value["accept len"]; ++lines }
  END {
    printf "Of the last prompt\047s %d tokens %d were in the prefix cache. ", new + cached, cached
    printf "With drafts a step gave %.2f tokens (accept length).\n", lines ? sum / lines : 0
    exit !(cached > 0 && sum > lines)
  }' "$log" || { say "demo: expected hits of the prefix cache and accepted drafts" >&2; wrong=$((wrong + 1)); }
say
if [ $wrong -gt 0 ]; then
  say "demo: $wrong of 5 things were not as expected" >&2
  exit 1
fi
[ $once = no ] || { say "All answers are right."; exit 0; }

# The address is typed as others will read it: no blanks or quotes in it.
cat <<TEXT
The server runs at $url until you press Ctrl-C. Ask it yourself, from another terminal:

  ./run fathom chat $url

  curl $url/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{"messages": [{"role": "user", "content": "tell me a joke"}], "stream": true}'

Its log is $log.
TEXT
wait "$server"
