#!/usr/bin/env bash
# long_files.sh ROOT: no file of ours has more than 600 lines, unless long_files.txt says why.
set -euo pipefail
cd "$1"
. tools/checks/files.sh
limit=600
reasons=tools/checks/long_files.txt

files=$(repository_files)
bad=0
listed=" "
while read -r path reason; do
  case "$path" in "" | \#*) continue ;; esac
  listed="$listed$path "
  if [ -z "$reason" ]; then
    echo "$reasons: $path has no reason: write why it is one file, or split it."
    bad=1
  fi
  # A listed file may be absent: a branch without it shares this list.
  if [ -f "$path" ] && [ "$(wc -l <"$path")" -le $limit ]; then
    echo "$reasons: $path has no more than $limit lines now: take it off the list."
    bad=1
  fi
done <$reasons

while IFS= read -r path; do
  case "$path" in
    LICENSE) continue ;;
    # Data, not text that someone reads from top to bottom.
    models/*.json | models/*.jsonl | models/*.txt | tests/data/*) continue ;;
  esac
  case "$listed" in *" $path "*) continue ;; esac
  lines=$(wc -l <"$path")
  # Only text has lines worth counting.
  if [ "$lines" -gt $limit ] && grep -qI . "$path"; then
    echo "$path has $lines lines, the limit is $limit: split off its second idea, or state the reason in $reasons."
    bad=1
  fi
done <<<"$files"
exit $bad
