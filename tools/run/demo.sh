#!/usr/bin/env bash
# ./run demo [--once]: builds the program, starts a server with the bundled model on this CPU, asks it
# three questions through its OpenAI API and leaves it running until Ctrl-C. With --once the server
# is ended, and the exit status says whether the three answers were the expected ones.
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
    --reasoning-parser auto --tool-call-parser auto >"$log" 2>&1 &
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
say
if [ $wrong -gt 0 ]; then
  say "demo: $wrong of 3 answers were not the expected ones" >&2
  exit 1
fi
[ $once = no ] || { say "All three answers are right."; exit 0; }

# The address is typed as others will read it: no blanks or quotes in it.
cat <<TEXT
The server runs at $url until you press Ctrl-C. Ask it yourself, from another terminal:

  ./run fathom chat $url

  curl $url/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{"messages": [{"role": "user", "content": "tell me a joke"}], "stream": true}'

Its log is $log.
TEXT
wait "$server"
