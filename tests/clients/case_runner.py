"""Runs the functions of a module whose names begin with case_ and says how each went.

One line a case on standard output: "pass NAME", or "fail NAME: what was wrong, in one line". Then
"ran N", so that a script which ended early does not look like one that passed.
"""

import sys
import time
import traceback


def run(module, only=None):
    failed = False
    ran = 0
    for name, function in sorted(vars(module).items()):
        if not name.startswith("case_") or not callable(function):
            continue
        name = name[len("case_"):]
        if only and name != only:
            continue
        ran += 1
        began = time.monotonic()
        try:
            function()
            print(f"pass {name}", flush=True)
        except Exception as error:
            failed = True
            text = " ".join(str(error).split())
            print(f"fail {name}: {type(error).__name__}: {text}", flush=True)
            traceback.print_exc(file=sys.stderr)
        print(f"{name}: {time.monotonic() - began:.2f} s", file=sys.stderr)
    print(f"ran {ran}", flush=True)
    return 1 if failed else 0
