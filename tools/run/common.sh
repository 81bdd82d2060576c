# Sourced by ./run and the scripts beside this file. The working directory is the repository root.

logs=build/logs
program=build/release/bin/fathom
processors=$(nproc 2>/dev/null || echo 2)

. tools/checks/files.sh

say() { printf '%s\n' "$*"; }

die() {
  printf 'run: %s\n' "$*" >&2
  exit 1
}

now_ms() { printf '%s\n' "$((${EPOCHREALTIME/[.,]/} / 1000))"; }

# configure PRESET [CMAKE ARGUMENT…]; all trees link the library that xgrammar.sh makes.
configure() {
  local preset=$1
  shift
  command -v cmake >/dev/null || die "cmake is missing; see tools/packages.txt for what to install."
  tools/run/xgrammar.sh
  cmake --preset "$preset" "$@"
}

# build TREE [TARGET]: builds build/TREE, going on past the first error to show them all.
build() { cmake --build "build/$1" --parallel "$processors" ${2:+--target "$2"} -- -k 0; }

# Builds the program alone, in the tree that `./run build` and `./run test` use later: both then
# find its objects done. Nothing is said unless there is something to do.
build_program() {
  local log=$logs/program.log
  [ -e src/app/CMakeLists.txt ] || die "This checkout has no program yet (src/app is missing)."
  mkdir -p "$logs"
  if [ ! -e build/release/build.ninja ]; then
    tools/run/packages.sh build
    tools/run/xgrammar.sh
    say "Building fathom (the log is in $log)."
    configure release -DFATHOM_TESTS=OFF -DFATHOM_BENCH=OFF >"$log" 2>&1 ||
      { tail -n 30 "$log"; die "CMake could not configure build/release; the full log is in $log."; }
  fi
  tools/run/xgrammar.sh
  build release fathom >"$log" 2>&1 ||
    { grep -v '^\[' "$log" | tail -n 60; die "The build failed; the full log is in $log."; }
}

# Our C++ and CUDA files.
source_files() {
  repository_files 'src/*.h' 'src/*.cc' 'src/*.cu' 'src/*.cuh' 'tests/*.h' 'tests/*.cc' 'bench/*.h' 'bench/*.cc' \
    'tools/*.h' 'tools/*.cc'
}

# record PART pass|fail|skip MILLISECONDS NAME: one result for the summary of `./run test`.
record() { [ -z "${FATHOM_RESULTS:-}" ] || printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >>"$FATHOM_RESULTS"; }
