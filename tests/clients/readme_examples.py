"""Runs what the README shows to do with a running server: readme_examples.py URL KEY.

Each fenced block of its section "Ask it" that is marked sh or python is one case: the first with
bash, the second with this interpreter, against URL instead of the address in the text.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

URL = sys.argv[1]
KEY = sys.argv[2]
README = pathlib.Path(__file__).resolve().parents[2] / "README.md"


def blocks():
    text = README.read_text(encoding="utf-8")
    section = re.search(r"^## Ask it\n(.*?)(?=^## )", text, re.M | re.S)
    if section is None:
        raise SystemExit("README.md has no section 'Ask it'")
    return re.findall(r"^```(sh|python)\n(.*?)^```", section.group(1), re.M | re.S)


def run(kind, code):
    code = code.replace("http://127.0.0.1:30000", URL).replace("127.0.0.1:30000", URL[7:])
    if kind == "python":
        command = [sys.executable, "-c", code.replace('api_key="none"', f"api_key={KEY!r}")]
    else:
        # Everybody's server has no key; ours has one, which curl is handed beside the text.
        code = code.replace("curl ", f"curl -sS -H 'Authorization: Bearer {KEY}' ")
        command = ["bash", "-ec", code]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ)
    )


def main():
    ran = 0
    for number, (kind, code) in enumerate(blocks(), 1):
        name = f"{kind}_{number}"
        ran += 1
        result = run(kind, code)
        out = result.stdout.strip()
        wrong = result.returncode != 0 or not out or '"object":"error"' in out
        if wrong:
            print(f"fail {name}: {json.dumps((out + result.stderr)[-600:])}", flush=True)
        else:
            print(f"pass {name}", flush=True)
    print(f"ran {ran}", flush=True)


main()
