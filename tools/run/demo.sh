#!/usr/bin/env bash
# ./run demo: builds the program and lets the bundled model answer a prompt on this CPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tools/run/common.sh

build_program
prompt=${1:-"What is the capital of France?"}
say "\$ ./run fathom generate --prompt \"$prompt\""
exec "$program" generate --prompt "$prompt"
