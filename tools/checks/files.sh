# Sourced by the checks and by tools/run/common.sh: the files of this repository.

# A checkout that belongs to another user (usual in containers) is still ours to read.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'

# repository_files [PATTERN…]: files that are tracked, or new and not ignored, one a line. Status 1
# and a sentence when git cannot tell: a check of no files must not pass.
repository_files() {
  local list
  list=$(git ls-files -co --exclude-standard -- "$@" | sort -u) || {
    echo "git cannot list the files of $PWD: see above." >&2
    return 1
  }
  while IFS= read -r file; do
    [ ! -f "$file" ] || printf '%s\n' "$file"
  done <<<"$list"
}
