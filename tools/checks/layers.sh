#!/usr/bin/env bash
# layers.sh ROOT: holds every include of ours, and every USES list, to tools/checks/layers.txt.
#
# A source file may include from its own layer and from those its row names; what it includes must
# also stand in the USES list of its layer's CMakeLists.txt, and that list must keep to the row.
# Tests of a layer may see backend/* and the helpers in tests/support/ too; tests/ and bench/ may see
# every layer. A *_testing.* file is for tests only.
set -euo pipefail
cd "$1"

files=$(find src tests bench -type f \( -name '*.h' -o -name '*.cc' -o -name '*.cu' -o -name '*.cuh' \
  -o -name 'CMakeLists.txt' \) 2>/dev/null | sort || true)

# USES lists come first, so that includes can be compared with them.
{ grep '/CMakeLists\.txt$' <<<"$files"; grep -v '/CMakeLists\.txt$' <<<"$files" || true; } |
  xargs -d '\n' awk '
function complain(message) { printf "%s:%d: %s\n", FILENAME, FNR, message; bad = 1 }

# The layer of a path below src/, or "" when it is in none.
function layer_of(path,    piece) {
  split(path, piece, "/")
  if (piece[1] == "backend" && (piece[1] "/" piece[2]) in row) return piece[1] "/" piece[2]
  return piece[1] in row ? piece[1] : ""
}

# Whether `list` ("| a | b |") allows the header `path` of layer `to`.
function allows(list, to, path) {
  return index(list, "| * |") || index(list, "| " to " |") || index(list, "| " path " |")
}

# Whether `list` names `to` or one of its headers.
function allows_some(list, to) { return allows(list, to, "") || index(list, "| " to "/") }

FILENAME ~ /layers\.txt$/ {
  if (/^#/ || NF == 0) next
  from = $1; sub(/:$/, "", from)
  row[from] = "|"
  for (i = 2; i <= NF; ++i) row[from] = row[from] " " $i " |"
  next
}

FNR == 1 {
  below = FILENAME; in_src = sub(/^src\//, "", below)
  from = in_src ? layer_of(below) : ""
  test = !in_src || FILENAME ~ /_(test|fuzz|bench)\.(cc|cu)$/ || FILENAME ~ /_testing\.(h|cc)$/
  declaring = 0
  if (in_src && below ~ /\// && from == "" && below != "backend/CMakeLists.txt")
    complain("is in no layer of tools/checks/layers.txt: move the file, or add the layer with a decision record")
}

FILENAME ~ /CMakeLists\.txt$/ {
  sub(/#.*/, "")
  if (/fathom_layer[ \t]*\(/) { declaring = 1; key = "NAME"; sub(/.*fathom_layer[ \t]*\(/, "") }
  if (!declaring) next
  closes = sub(/\).*/, "")
  for (i = 1; i <= NF; ++i) {
    if ($i ~ /^(SOURCES|USES|LIBRARIES)$/) { key = $i; continue }
    if (key == "NAME") {
      wanted = from; gsub(/\//, "_", wanted)
      if ($i != wanted) complain("the layer of this folder is \"" wanted "\", not \"" $i "\"")
      uses[from] = "|"; where[from] = FILENAME
    }
    if (key == "USES") {
      to = $i; sub(/^backend_/, "backend/", to)
      uses[from] = uses[from] " " to " |"
      if (!(to in row)) complain("USES names \"" $i "\", which is no layer of tools/checks/layers.txt")
      else if (!allows_some(row[from], to)) complain("USES names \"" to "\", but " from " may use only: " row[from])
    }
  }
  if (closes) declaring = 0
  next
}

/^[ \t]*#[ \t]*include[ \t]*[<"]/ {
  quoted = $0 ~ /include[ \t]*"/
  path = $0; sub(/^[^<"]*[<"]/, "", path); sub(/[>"].*/, "", path)
  to = layer_of(path)
  if (!quoted) {
    if (path ~ /\// && to != "" && !system("test -e \"src/" path "\""))
      complain("<" path "> is a header of ours: include it in quotes")
    next
  }
  if (path ~ /^support\// && !in_src) next
  # Benchmarks and tests share the helpers of bench/ and of the checkpoint generator.
  if (path ~ /^(bench|make_checkpoint)\// && !in_src) next
  if (path ~ /^support\//) {
    if (!test) complain("\"" path "\" is a test helper: only tests may include it")
    next
  }
  if (path !~ /\// || to == "") {
    if (in_src || system("test -e \"tests/" path "\""))
      complain("\"" path "\" names no layer: write the path from src/ (in tests/: from tests/), or use <> for a library")
    next
  }
  if (path ~ /_testing\.h$/ && !test) complain("\"" path "\" is a test helper: only tests may include it")
  if (!in_src || to == from) next
  if (test) {
    if (to !~ /^backend\// && !allows(row[from], to, path))
      complain("a test of " from " may not include \"" path "\": its row of tools/checks/layers.txt is: " row[from])
    next
  }
  if (!allows(row[from], to, path))
    complain(from " may not include \"" path "\": its row of tools/checks/layers.txt is: " row[from])
  else if ((from in uses) && !allows(uses[from], to, path) && from != "app")
    complain(from " includes \"" path "\", but USES in " where[from] " does not name " to)
}

END {
  if (bad) print "Move the code to a layer that may do this; a new edge needs a record in docs/decisions/."
  exit bad
}' tools/checks/layers.txt
