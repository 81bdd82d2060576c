#!/usr/bin/env bash
# ./run bundle [--tests]: the program as one folder and one archive for machines that have no build
# tools, no packages and another Linux: build/bundle/fathom and build/bundle/fathom.tar.xz.
#
#   bin/fathom                         stripped
#   lib/fathom/libfathom_cuda.so       the CUDA plug-in, when there is a CUDA toolkit to build it
#   lib/*.so*                          every library that is neither glibc's nor the driver's
#   share/fathom/models/fathom-tiny    the bundled model
#   share/doc/                         licences of libraries that are linked in
#
# Paths are relative: the folder may lie anywhere. --tests adds what `./run gpu-test` and
# `./run gpu-bench` run, and leaves out the model, which the repository beside it has. Last it is tried out in a root that holds it and glibc and nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tools/run/common.sh

tests=no
case "${1:-}" in
  "") ;;
  --tests) tests=yes ;;
  *) die "usage: ./run bundle [--tests]" ;;
esac

tools/run/packages.sh build test
if command -v nvcc >/dev/null || [ -x /usr/local/cuda/bin/nvcc ]; then
  tree=cuda
  configure cuda -DFATHOM_TESTS=ON -DFATHOM_BENCH=ON >/dev/null
  if [ $tests = yes ]; then build cuda fathom_gpu_programs; else build cuda fathom; fi
else
  [ $tests = no ] || die "there is no nvcc: the tests for a GPU need the CUDA toolkit."
  say "There is no nvcc: the bundle comes without the CUDA plug-in."
  tree=release
  configure release -DFATHOM_TESTS=ON -DFATHOM_BENCH=ON >/dev/null
  build release fathom
fi

bundle=build/bundle/fathom
rm -rf build/bundle
mkdir -p $bundle/bin $bundle/lib $bundle/share/fathom/models
programs=(fathom)
[ $tests = no ] || programs+=($(cd build/cuda/bin && ls cuda_*))
for name in "${programs[@]}"; do
  strip -o "$bundle/bin/$name" "build/$tree/bin/$name"
done
if [ $tree = cuda ]; then
  mkdir -p $bundle/lib/fathom
  strip -o $bundle/lib/fathom/libfathom_cuda.so build/cuda/lib/fathom/libfathom_cuda.so
fi
[ $tests = yes ] || cp -r models/fathom-tiny $bundle/share/fathom/models/
# The licence of what is linked in asks for it.
mkdir -p $bundle/share/doc/xgrammar
cp build/third_party/xgrammar/{LICENSE,NOTICE} $bundle/share/doc/xgrammar/

# libraries FILE…: "name path" of what they load, glibc's and the loader left out.
libraries() {
  ldd "$@" | awk '$2 == "=>" && $3 ~ /^\// { print $1, $3 }' | sort -u |
    grep -Ev '^(libc|libm|libdl|librt|libpthread|libresolv|libutil)\.so' || true
}
while read -r name path; do
  strip -o "$bundle/lib/$name" "$path"
done < <(libraries "${programs[@]/#/build/$tree/bin/}" $(find build/$tree/lib/fathom -name '*.so' 2>/dev/null))

tar -C build/bundle -cf - fathom | xz -T0 -6 >build/bundle/fathom.tar.xz
say "build/bundle/fathom.tar.xz: $(du -h --apparent-size build/bundle/fathom.tar.xz | cut -f 1)"

# An empty root: the bundle, glibc and /proc, where a program finds its own place.
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
cp -r $bundle "$root/"
mkdir -p "$root/fathom/share/fathom/models"
cp -r models/fathom-tiny "$root/fathom/share/fathom/models/"
for path in $(ldd build/$tree/bin/fathom | awk '$1 ~ /^\// { print $1 } $2 == "=>" && $1 ~ /^(libc|libm|libdl|librt|libpthread|libresolv)\.so/ { print $3 }'); do
  mkdir -p "$root$(dirname "$path")"
  cp -L "$path" "$root$path"
done
mkdir -p "$root/proc"
in_root() {
  unshare --mount sh -c 'mount --rbind /proc "$0/proc" && exec chroot "$0" "$@"' "$root" "$@"
}
if ! unshare --mount sh -c 'mount --rbind /proc "$0/proc" || exit 125; chroot "$0" true 2>/dev/null; [ $? -ne 125 ]' "$root" 2>/dev/null; then
  say "An empty root was not tried: this user may not mount and change the root."
  exit 0
fi
say "In an empty root: $(in_root /fathom/bin/fathom --version)"
in_root /fathom/bin/fathom generate --prompt "Hello" --max-new-tokens 4 ||
  die "the bundle does not generate in an empty root: see above."
# What a machine without a driver is told; one with a GPU has no place for this script.
if [ $tree = cuda ]; then
  told=$(in_root /fathom/bin/fathom launch_server --device cuda 2>&1 || true)
  say "$told"
  grep -q "this machine has no NVIDIA driver" <<<"$told" ||
    die "the bundle does not say that there is no driver, or cannot open its plug-in."
fi
