#!/usr/bin/env bash
# lint.sh [--all]: clang-tidy over changed sources, or over all of them.
#
# Changed is what differs from $FATHOM_LINT_BASE, else from where the branch left origin/main. Where
# neither is known (on main itself, in a shallow clone) every file counts, the latest change first.
# The most recent changes are linted until the cap is used up; what was left out is said. A file that
# passed before, with the same text and the same headers of ours, costs nothing: it is remembered in
# ~/.cache/fathom/lint.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tools/run/common.sh

tree=build/release
# A measure of time, three minutes on two cores: a file costs 10, a test 20 for the test
# library's headers.
cap=160
command -v clang-tidy >/dev/null || die "clang-tidy is missing: install the package clang-tidy."
[ -e $tree/compile_commands.json ] || die "$tree is not configured: run ./run build first."

base=${FATHOM_LINT_BASE:-}
if [ -z "$base" ]; then
  base=$(git merge-base HEAD origin/main 2>/dev/null || true)
  [ "$base" != "$(git rev-parse HEAD)" ] || base=
fi

# Paths, latest change first: the working tree, then commit by commit.
by_age() {
  git status --porcelain -uall --no-renames | cut -c4-
  git log --format= --name-only ${base:+"$base.."}HEAD
}

# A header is seen through a source file that includes it: its own, or its test.
as_sources() {
  while IFS= read -r file; do
    case "$file" in
      *.h)
        for source in "${file%.h}.cc" "${file%.h}_test.cc"; do
          if [ -f "$source" ]; then printf '%s\n' "$source"; break; fi
        done
        ;;
      *.cc) [ ! -f "$file" ] || printf '%s\n' "$file" ;;
    esac
  done
}

compiled() {
  sed -n 's/^ *"file": "\(.*\.cc\)",\{0,1\}$/\1/p' "$1/compile_commands.json" | sed "s|^$PWD/||" | sort -u
}

# Files that the CUDA tree alone compiles are linted as it does, where there is one.
everything=$(compiled $tree)
export cuda_files=
if [ -e build/cuda/compile_commands.json ]; then
  cuda_files=$(comm -13 <(printf '%s\n' "$everything") <(compiled build/cuda))
  everything=$(printf '%s\n%s\n' "$everything" "$cuda_files" | grep . | sort -u)
fi
if [ "${1:-}" = --all ]; then
  candidates=$everything
  cap=1000000
else
  candidates=$(by_age | as_sources | awk '!seen[$0]++' | grep -Fx -f <(printf '%s\n' "$everything") || true)
fi
total=$(grep -c . <<<"$candidates" || true)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export passed="${XDG_CACHE_HOME:-$HOME/.cache}/fathom/lint"
mkdir -p "$passed"
find "$passed" -type f -mtime +30 -delete

# A line "source key" for each source of a tree that was built: the key is a hash of the texts that
# went into it, of its compile command, of the tools' versions and of the configuration.
repository_files '*.h' '*.cuh' '*.cc' '*.cu' | xargs -d '\n' sha256sum >"$work/texts"
settings=$({
  clang-tidy --version; c++ --version; repository_files '*.clang-tidy' | xargs -d '\n' cat
} | sha256sum | cut -d' ' -f1)
# A tree that is not built to the last file does not know what its sources include, so it is built
# (a dry run of ninja cannot tell: it takes CMake's globs for changed); no keys where that fails.
keys() {
  ninja -C "$1" "$2" >/dev/null 2>&1 || return 0
  sed -n "s|$PWD/||g; s/^  \"command\": //p; s/^  \"file\": \"\(.*\)\",\{0,1\}$/\1/p" "$1/compile_commands.json" |
    awk 'NR % 2 { command = $0; next } { gsub(/ /, "_", command); print $0, command }' >"$work/commands"
  ninja -C "$1" -t deps | sed "s|^    \.\./\.\./|    |; s|^    $PWD/|    |" |
    awk -v settings="$settings" '
      FNR == NR { text[$2] = $1; next }
      /^[^ ]/ { source = ""; next }
      NF == 1 && source == "" { source = $1; print "\n" source, settings }
      NF == 1 && ($1 in text) { print text[$1] }' "$work/texts" - |
    awk 'BEGIN { RS = ""; FS = "\n" } { split($1, head, " "); gsub(/\n/, " "); print head[1] "\t" $0 }' |
    while IFS=$'\t' read -r source texts; do
      printf '%s %s\n' "$source" \
        "$({ printf '%s\n' "$texts"; grep -F -e "$source " "$work/commands"; } | sha256sum | cut -d' ' -f1)"
    done
}
{ keys $tree all; [ -z "$cuda_files" ] || keys build/cuda fathom_gpu_programs; } | awk '!seen[$1]++' >"$work/keys"
known=$(while read -r source key; do [ ! -e "$passed/$key" ] || printf '%s\n' "$source"; done <"$work/keys")
unknown=$(grep -Fxv -f <(printf '%s\n' "${known:-none}") <<<"$candidates" || true)
chosen=$(awk -v cap=$cap 'NF { cost += /_test\.cc$/ ? 20 : 10; if (cost <= cap) print }' <<<"$unknown")
linted=$(grep -c . <<<"$chosen" || true)
count=$((total - $(grep -c . <<<"$unknown" || true) + linted))
export tree work
status=0
grep . <<<"$chosen" | xargs -r -d '\n' -P "$processors" -n 1 bash -c '
  log=$work/${1//\//_}
  if grep -Fxq -e "$1" <<<"$cuda_files"; then tree=build/cuda; fi
  if clang-tidy -p "$tree" --quiet "$1" >"$log" 2>&1; then
    key=$(sed -n "s|^$1 ||p" "$work/keys")
    [ -z "$key" ] || : >"$passed/$key"
  else
    mv "$log" "$log.failed"
  fi' lint || status=1
for log in "$work"/*.failed; do
  [ -e "$log" ] || continue
  status=1
  grep -v ' warnings\{0,1\} generated\.$' "$log" || true
done
if [ "${1:-}" = --all ]; then
  say "clang-tidy: all $count files; $linted of them now, the others passed before as they are."
elif [ -n "$base" ]; then
  say "clang-tidy: $count of the $total files changed since $(git rev-parse --short "$base") ($linted of them now); $((total - count)) not linted."
else
  say "clang-tidy: $count files of $total, $linted of them now; $((total - count)) not linted."
fi
[ $count -eq $total ] || say "The cap keeps this near three minutes. Lint the rest with: ./run lint --all"
exit $status
