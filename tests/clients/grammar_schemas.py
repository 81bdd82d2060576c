"""Random JSON Schemas, and the judgement of an independent validator on what satisfied them.

grammar_schemas.py make SEED COUNT          prints COUNT schemas, one a line
grammar_schemas.py check FILE               FILE has lines {"schema": …, "output": "text"}; prints
                                            each text that is no JSON or does not satisfy its schema
"""

import json
import random
import sys

import jsonschema

PATTERNS = ["^[a-z]{2,6}$", "^(yes|no)$", "^[A-Z][a-z]+( [A-Z][a-z]+)*$", "^\\d{3}-\\d{4}$", "^[^\\s,]{1,8}$"]
# Those that the validator can check without further packages.
FORMATS = ["date", "email", "ipv4", "ipv6", "uuid", "date-time", "time", "hostname", "duration"]
NAMES = ["a", "name", "id", "größe", "x y", "list", "next", "A/B", "quo\"te", "~t", "", "名"]


def bounds(rng, low, high, least, most):
    out = {}
    first, second = sorted((rng.randint(least, most), rng.randint(least, most)))
    if rng.random() < 0.5:
        out[low] = first
    if rng.random() < 0.5:
        out[high] = second
    return out


def string(rng):
    out = {"type": "string"}
    kind = rng.randrange(4)
    if kind == 0:
        out.update(bounds(rng, "minLength", "maxLength", 0, 12))
    elif kind == 1:
        out["pattern"] = rng.choice(PATTERNS)
    elif kind == 2:
        out["format"] = rng.choice(FORMATS)
    return out


def number(rng):
    out = {"type": rng.choice(["integer", "number"])}
    kind = rng.randrange(4)
    if kind == 0 and out["type"] == "integer":
        out["multipleOf"] = rng.choice([2, 3, 7, 10, 64])
        if rng.random() < 0.5:
            out.update(minimum=-rng.randint(0, 500), maximum=rng.randint(100, 500))
    elif kind == 1:
        out.update(bounds(rng, "minimum", "maximum", -1000, 100000))
    elif kind == 2:
        out.update(exclusiveMinimum=rng.randint(-50, 0), exclusiveMaximum=rng.randint(2, 5000))
    elif out["type"] == "number":
        out.update(minimum=rng.choice([-1.5, 0.25, 3.125]), maximum=rng.choice([3.5, 99.75, 1000]))
    return out


def constants(rng):
    values = [None, True, 0, -7, 2.5, "", "a\"b", "é/\n", "名", [1, "x"], {"k": [None]}]
    if rng.random() < 0.3:
        return {"const": rng.choice(values)}
    if rng.random() < 0.3:
        return {"type": "string", "enum": rng.sample(["red", "green", "blue", 3, None], 4)}
    return {"enum": rng.sample(values, rng.randint(1, 5))}


def array(rng, depth, refs):
    out = {"type": "array"}
    if rng.random() < 0.3:
        out["prefixItems"] = [schema(rng, depth - 1, refs) for _ in range(rng.randint(1, 3))]
        out["items"] = rng.choice([False, schema(rng, depth - 1, refs)])
        return out
    out["items"] = schema(rng, depth - 1, refs)
    out.update(bounds(rng, "minItems", "maxItems", 0, 4))
    return out


def obj(rng, depth, refs):
    out = {"type": "object"}
    kind = rng.randrange(6)
    if kind == 0:
        out["patternProperties"] = {rng.choice(PATTERNS): schema(rng, depth - 1, refs)}
        out["additionalProperties"] = False
        return out
    if kind == 1:
        out["additionalProperties"] = schema(rng, depth - 1, refs)
        out.update(bounds(rng, "minProperties", "maxProperties", 0, 1))
        return out
    if kind == 2:
        out["propertyNames"] = rng.choice([{"maxLength": 3}, {"pattern": rng.choice(PATTERNS)}])
        return out
    names = rng.sample(NAMES, rng.randint(1, 5))
    out["properties"] = {name: schema(rng, depth - 1, refs) for name in names}
    out["required"] = [name for name in names if rng.random() < 0.5]
    if rng.random() < 0.7:
        out["additionalProperties"] = False
        if rng.random() < 0.3:
            out["maxProperties"] = rng.randint(max(1, len(out["required"])), len(names))
        if rng.random() < 0.3:
            out["minProperties"] = rng.randint(0, out.get("maxProperties", len(names)))
    elif rng.random() < 0.5:
        out["additionalProperties"] = rng.choice([True, schema(rng, depth - 1, refs)])
    return out


def schema(rng, depth, refs):
    leaves = [string, number, constants, lambda r: {"type": r.choice(["boolean", "null"])}]
    if depth <= 0:
        return rng.choice(leaves)(rng)
    kind = rng.randrange(10)
    if kind < 3:
        return obj(rng, depth, refs)
    if kind < 5:
        return array(rng, depth, refs)
    if kind == 5:
        return {"anyOf": [schema(rng, depth - 1, refs) for _ in range(rng.randint(1, 3))]}
    if kind == 6 and refs:
        return {"$ref": rng.choice(refs)}
    if kind == 7:
        return {"type": rng.sample(["string", "null", "integer", "boolean"], 2), "maxLength": 4}
    if kind == 8:
        return {"oneOf": [string(rng), number(rng), {"type": "null"}]}
    return rng.choice(leaves)(rng)


def root(rng):
    # References go to earlier definitions, or come back to their own in a place that may be left
    # out.
    definitions = {}
    refs = []
    for i in range(rng.randint(0, 2)):
        definitions[f"d/{i}"] = schema(rng, 1, refs)
        refs.append(f"#/$defs/d~1{i}")
    if rng.random() < 0.3:
        definitions["tree"] = {
            "type": "object",
            "properties": {"v": schema(rng, 1, refs), "kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2}},
            "required": ["v"],
        }
        refs.append("#/$defs/tree")
    out = schema(rng, 3, refs)
    if definitions:
        out = dict(out)
        out["$defs"] = definitions
    return out


def check(path):
    wrong = 0
    with open(path, encoding="utf-8", errors="strict") as lines:
        for line in lines:
            case = json.loads(line)
            try:
                value = json.loads(case["output"])
                validator = jsonschema.Draft202012Validator(
                    case["schema"], format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
                validator.validate(value)
            except (ValueError, jsonschema.ValidationError) as error:
                wrong += 1
                print(f"{json.dumps(case['schema'])}\n  gave {case['output']!r}\n  {str(error).splitlines()[0]}")
    return wrong


def main():
    if sys.argv[1] == "make":
        rng = random.Random(int(sys.argv[2]))
        for _ in range(int(sys.argv[3])):
            print(json.dumps(root(rng)))
        return 0
    return 1 if check(sys.argv[2]) else 0


if __name__ == "__main__":
    sys.exit(main())
