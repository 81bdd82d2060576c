#!/usr/bin/env bash
# documents.sh ROOT: what our documents point at exists.
#
# Relative links; paths in code that start with one of our top folders; `./run X` commands; `fathom X`
# subcommands, where the program is built. A path with <, {, $ or … in it stands for many and is left
# alone; one with * must match something.
set -euo pipefail
cd "$1"
. tools/checks/files.sh
program=${FATHOM_PROGRAM:-build/release/bin/fathom}
folders='src|docs|tools|tests|bench|cmake|models|\.ci'

documents=$(repository_files '*.md')
documents=$(grep -E '^([A-Z]+\.md|docs/.*|(tools|models)/(.*/)?README\.md)$' <<<"$documents" || true)
run_commands=$(./run help | sed -n 's|^  \./run \([a-z]*\).*|\1|p')
if [ -x "$program" ]; then subcommands=$("$program" --help 2>&1 || true); else subcommands=; fi

# Prints "document line kind text" for every reference: kinds link, path, run, fathom.
references() {
  # shellcheck disable=SC2086
  awk -v folders="^(${folders//\\/\\\\})/" '
  function look_at_code(code,    word, count, i) {
    gsub(/[()\[\]"'"'"',;|]/, " ", code)
    count = split(code, word, /[ \t]+/)
    for (i = 1; i <= count; ++i) {
      if (word[i] ~ folders) emit("path", word[i])
      if (word[i] == "./run" && word[i + 1] ~ /^[a-z]+$/) {
        emit("run", word[i + 1])
        if (word[i + 1] == "fathom" && word[i + 2] ~ /^[a-z][a-z_]+$/) emit("fathom", word[i + 2])
      }
      if ((i == 1 || word[i - 1] == "$") && word[i] == "fathom" && word[i + 1] ~ /^[a-z][a-z_]+$/) emit("fathom", word[i + 1])
    }
  }
  function emit(kind, text) { sub(/[.:]+$/, "", text); printf "%s\t%d\t%s\t%s\n", FILENAME, FNR, kind, text }
  FNR == 1 { fenced = 0 }
  /^[ \t]*```/ { fenced = !fenced; next }
  fenced { look_at_code($0); next }
  {
    line = $0
    while (match(line, /`[^`]+`/)) {
      look_at_code(substr(line, RSTART + 1, RLENGTH - 2))
      # What is left are words and links.
      line = substr(line, 1, RSTART - 1) substr(line, RSTART + RLENGTH)
    }
    while (match(line, /\]\([^)]+\)/)) {
      emit("link", substr(line, RSTART + 2, RLENGTH - 3))
      line = substr(line, RSTART + RLENGTH)
    }
  }' $documents
}

bad=0
complain() {
  echo "$1:$2: $3"
  bad=1
}

while IFS=$'\t' read -r document line kind text; do
  case "$kind" in
    link)
      case "$text" in http:* | https:* | mailto:* | \#*) continue ;; esac
      target=$(dirname "$document")/${text%%#*}
      [ -e "$target" ] || complain "$document" "$line" "the link \"$text\" leads to no file: mend the path."
      ;;
    path)
      case "$text" in *[\<\{\$]* | *…* | *...*) continue ;; esac
      # file.cc:12 and file.md#part point into a file.
      text=${text%%#*}
      text=${text%%:[0-9]*}
      compgen -G "${text%/}" >/dev/null || [ -e "$text" ] ||
        complain "$document" "$line" "\"$text\" does not exist: mend the path, or say it in words if it is yet to come."
      ;;
    run)
      grep -qx "$text" <<<"$run_commands" ||
        complain "$document" "$line" "\"./run $text\" is no command; \`./run help\` knows: $(tr '\n' ' ' <<<"$run_commands")"
      ;;
    fathom)
      [ -z "$subcommands" ] || grep -qE "(^|[^a-z_])$text([^a-z_]|\$)" <<<"$subcommands" ||
        complain "$document" "$line" "\"fathom $text\" is not in \`fathom --help\`: mend the name."
      ;;
  esac
done < <([ -z "$documents" ] || references)

[ -n "$subcommands" ] || echo "documents: there is no $program, so subcommands of fathom were not compared."
[ $bad -ne 0 ] || echo "documents: $(wc -w <<<"$documents") files checked."
exit $bad
