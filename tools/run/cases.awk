# Reads GoogleTest's XML reports and prints one line per case: part, pass|fail|skip, milliseconds,
# name, source file; tabs between. Variable: part.
function attribute(line, key,    rest) {
  if (!match(line, " " key "=\"")) return ""
  rest = substr(line, RSTART + RLENGTH)
  return substr(rest, 1, index(rest, "\"") - 1)
}
function finish() {
  if (name == "") return
  printf "%s\t%s\t%d\t%s\t%s\n", part, state, milliseconds, name, file
  name = ""
}
/^    <testcase / {
  # A disabled case is listed, but did not run: nothing is known of it.
  if (attribute($0, "status") != "run") next
  name = attribute($0, "classname") "." attribute($0, "name")
  file = attribute($0, "file")
  milliseconds = attribute($0, "time") * 1000
  state = attribute($0, "result") == "skipped" ? "skip" : "pass"
  if (/\/>$/) finish()
}
/^      <failure / { state = "fail" }
/^    <\/testcase>/ { finish() }
