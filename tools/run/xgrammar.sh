#!/usr/bin/env bash
# xgrammar.sh: makes build/third_party/xgrammar (lib/libxgrammar.a, include/), the C++ core of the
# library behind src/grammar/, from its source distribution on the configured Python index. Quick
# when it is there already; else some two minutes of processor time.
#
# One build serves all trees. It is not instrumented by the sanitizers and has no link-time
# optimisation, whose objects Clang could not link. A machine without an index needs the archive put
# at build/third_party/xgrammar-VERSION.tar.gz beforehand.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tools/run/common.sh

version=0.2.8
sha256=8305646fd2b319d6c3003f51a1665e54cbbe9cba1fb636bc41d0b46434ccbb80
# Its messages go to functions of ours: a warning there is a keyword that it would ignore.
flags="-O2 -fno-lto -g0 -w -DXGRAMMAR_LOG_CUSTOMIZE=1"

folder=build/third_party
made=$folder/xgrammar
archive=$folder/xgrammar-$version.tar.gz
pins="$version $sha256 $flags"
[ "$(cat "$made/pins" 2>/dev/null)" != "$pins" ] || exit 0

mkdir -p "$folder" "$logs"
# Another run may be at it.
exec 9>"$folder/lock"
flock 9
[ "$(cat "$made/pins" 2>/dev/null)" != "$pins" ] || exit 0

log=$logs/xgrammar.log
work=$folder/xgrammar-work
rm -rf "$made" "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
say "Building xgrammar $version (the log is in $log)."

right() { printf '%s  %s\n' "$sha256" "$archive" | sha256sum --check --status 2>/dev/null; }

# pip alone knows which index this machine uses. Before it keeps a source distribution it asks the
# package's build backend for the package's name, which would fetch and run a whole Python build:
# a backend of ours (no_backend/) answers instead, so that nothing of the archive is run.
if ! right; then
  python=python3
  if ! $python -m pip --version >/dev/null 2>&1; then
    tools/run/packages.sh build
    python3 -m venv "$work/venv" || die "python3 can make no environment with pip: install python3-venv."
    python=$work/venv/bin/python
  fi
  printf 'xgrammar==%s --hash=sha256:%s\n' "$version" "$sha256" >"$work/requirements.txt"
  PYTHONPATH=$PWD/tools/run/no_backend $python -m pip download --quiet --disable-pip-version-check \
    --no-deps --no-build-isolation --no-binary xgrammar --requirement "$work/requirements.txt" \
    --dest "$folder" >"$log" 2>&1 ||
    { tail -n 20 "$log"; die "xgrammar $version cannot be fetched from the Python index." \
      "Where there is none, put its source distribution at $archive."; }
  right || die "$archive is not the file that tools/run/xgrammar.sh pins."
fi

tar -C "$work" -xzf "$archive"
# The folder's config.cmake comes before the one in the archive, which overrides options of the
# command line.
mkdir -p "$work/build"
cat >"$work/build/config.cmake" <<'CMAKE'
set(XGRAMMAR_BUILD_PYTHON_BINDINGS OFF)
set(XGRAMMAR_BUILD_CXX_TESTS OFF)
set(XGRAMMAR_ENABLE_CPPTRACE OFF)
set(XGRAMMAR_ENABLE_COVERAGE OFF)
set(XGRAMMAR_ENABLE_INTERNAL_CHECK OFF)
CMAKE
launcher=()
if command -v ccache >/dev/null; then
  export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
  launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
fi
{
  cmake -S "$work/xgrammar-$version" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_CXX_FLAGS_RELEASE=-DNDEBUG -DCMAKE_CXX_FLAGS="$flags" -DCMAKE_CXX_COMPILER=g++ \
    -DCMAKE_INSTALL_LIBDIR=lib ${launcher[@]+"${launcher[@]}"} &&
    cmake --build "$work/build" --parallel "$processors" --target xgrammar &&
    cmake --install "$work/build" --prefix "$work/installed"
} >>"$log" 2>&1 || { tail -n 30 "$log"; die "xgrammar does not build; the full log is in $log."; }
cp "$work/xgrammar-$version"/{LICENSE,NOTICE} "$work/installed/"
printf '%s\n' "$pins" >"$work/installed/pins"
mv "$work/installed" "$made"
