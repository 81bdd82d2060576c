"""Renders chat templates as Hugging Face's apply_chat_template() sets Jinja up.

Reads lines of JSON from the standard input, {"template": text, "variables": object}, and answers
each with a line {"text": text} or {"error": text}.
"""

import functools
import json
import sys
import time

import jinja2
import jinja2.nodes
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(Extension):
    """{% generation %} … {% endgeneration %}: only training asks what is in it."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


def to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def environment():
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True,
        extensions=[Generation, "jinja2.ext.loopcontrols"])
    made.filters["tojson"] = to_json
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = time.strftime
    return made


def answer(parse, request):
    try:
        template = parse(request["template"])
        return {"text": template.render(**request["variables"])}
    except Exception as error:  # whatever Python refuses with
        return {"error": f"{type(error).__name__}: {error}"}


def main():
    parse = functools.lru_cache(environment().from_string)
    for line in sys.stdin:
        print(json.dumps(answer(parse, json.loads(line))))


if __name__ == "__main__":
    main()
