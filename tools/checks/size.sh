#!/usr/bin/env bash
# size.sh ROOT: all files of the repository together stay below 42 MB.
set -euo pipefail
cd "$1"
. tools/checks/files.sh
limit=${FATHOM_SIZE_LIMIT:-42000000} # bytes; the variable is for the self-test

files=$(repository_files)
sizes=$(xargs -d '\n' stat -c '%s %n' <<<"$files")
total=$(awk '{ sum += $1 } END { printf "%d", sum }' <<<"$sizes")
if [ "$total" -ge "$limit" ]; then
  echo "The repository holds $total bytes, the limit is $limit. Pack or cut the largest files:"
  sort -rn <<<"$sizes" | head -n 10
  exit 1
fi
echo "size: $total bytes of $limit."
