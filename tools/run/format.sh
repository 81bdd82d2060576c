#!/usr/bin/env bash
# format.sh --check|--write: clang-format over all sources.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tools/run/common.sh

command -v clang-format >/dev/null || die "clang-format is missing: install the package clang-format."
case "${1:-}" in
  --write) source_files | xargs -r -d '\n' clang-format -i ;;
  --check)
    if ! found=$(source_files | xargs -r -d '\n' clang-format --dry-run -Werror 2>&1); then
      say "Not formatted as .clang-format says (file:line of the first difference):"
      sed -n 's/^\([^ ]*:[0-9]*\):[0-9]*: error: .*/\1/p' <<<"$found" | awk -F : '!seen[$1]++'
      die "Run: ./run format"
    fi
    say "format: $(source_files | wc -l) files are as .clang-format says."
    ;;
  *) die "usage: format.sh --check|--write" ;;
esac
