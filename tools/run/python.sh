#!/usr/bin/env bash
# python.sh: makes build/python, the Python environment of those tests that compare with Python
# packages or use them as clients (tests/clients/requirements.txt), and prints its interpreter.
# Quick when it is there already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tools/run/common.sh

wanted=tests/clients/requirements.txt
made=build/python/requirements.txt
if ! cmp -s "$wanted" "$made"; then
  python3 -c 'import ensurepip' 2>/dev/null || tools/run/packages.sh test >&2
  rm -rf build/python
  python3 -m venv build/python >&2
  build/python/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: \
    --requirement "$wanted" >&2 ||
    die "The Python packages of $wanted cannot be installed: see above."
  cp "$wanted" "$made"
fi
say "$PWD/build/python/bin/python"
