"""The `anthropic` package against a running server with fathom-tiny: anthropic_client.py URL KEY [CASE].

And Ollama's protocol, which has a package of its own but needs none.
"""

import json
import sys
import urllib.request

import anthropic

import case_runner

URL = sys.argv[1]
KEY = sys.argv[2]
client = anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0, timeout=120)
MODEL = "fathom-tiny"
# This version of the package has no parameters for sampling: they go beside those that it knows.
GREEDY = {"temperature": 0}
WEATHER = {
    "name": "get_weather",
    "description": "Get the current weather in a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "The city name"}},
        "required": ["city"],
    },
}


def expect(condition, *what):
    if not condition:
        raise AssertionError(" ".join(repr(each) if not isinstance(each, str) else each for each in what))


def ask(text, **more):
    more.setdefault("max_tokens", 200)
    more.setdefault("extra_body", GREEDY)
    return client.messages.create(
        model=MODEL, messages=[{"role": "user", "content": text}], **more
    )


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


def case_message():
    message = ask("What is the capital of Norway?")
    expect(text_of(message) == "The capital of Norway is Oslo.", message)
    expect(message.role == "assistant" and message.stop_reason == "end_turn")
    expect(message.usage.input_tokens > 0 and message.usage.output_tokens > 0)


def case_system():
    message = ask("Who are you?", system="You are Ada, a friendly guide to Rome.")
    expect("Ada" in text_of(message), message)


def case_stream():
    with client.messages.stream(
        model=MODEL,
        max_tokens=200,
        extra_body=GREEDY,
        messages=[{"role": "user", "content": "What is the capital of Norway?"}],
    ) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    expect(text == "The capital of Norway is Oslo." == text_of(final), text)
    expect(final.stop_reason == "end_turn" and final.usage.output_tokens > 0)


def case_limits():
    message = ask("tell me a story", max_tokens=5)
    expect(message.stop_reason == "max_tokens" and message.usage.output_tokens == 5, message)
    message = ask("What is the capital of Norway?", stop_sequences=[" is"])
    expect(message.stop_reason == "stop_sequence" and message.stop_sequence == " is", message)
    expect(text_of(message) == "The capital of Norway", message)


def case_thinking():
    message = ask("What is 347 + 285?", thinking={"type": "enabled", "budget_tokens": 1024},
                  max_tokens=2000, extra_body={"temperature": 1, "top_k": 1})
    kinds = [block.type for block in message.content]
    expect(kinds == ["thinking", "text"], kinds)
    expect("7 + 5" in message.content[0].thinking and "632" in message.content[1].text, message)


def case_tool_round_trip():
    messages = [{"role": "user", "content": "What is the weather in Paris?"}]
    first = client.messages.create(
        model=MODEL, max_tokens=200, extra_body=GREEDY, messages=messages, tools=[WEATHER]
    )
    expect(first.stop_reason == "tool_use", first)
    calls = [block for block in first.content if block.type == "tool_use"]
    expect(len(calls) == 1 and calls[0].name == "get_weather", first)
    # The small model likes to add a unit that it was not asked for.
    expect(calls[0].input["city"] == "Paris", calls[0].input)
    messages.append({"role": "assistant", "content": [b.model_dump() for b in first.content]})
    messages.append(
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": calls[0].id,
                    "content": '{"city": "Paris", "temperature": 21, "condition": "sunny"}',
                }
            ],
        }
    )
    second = client.messages.create(
        model=MODEL, max_tokens=200, extra_body=GREEDY, messages=messages, tools=[WEATHER]
    )
    expect("21" in text_of(second), second)


def case_tool_stream():
    with client.messages.stream(
        model=MODEL,
        max_tokens=200,
        extra_body=GREEDY,
        messages=[{"role": "user", "content": "What is the weather in Paris?"}],
        tools=[WEATHER],
    ) as stream:
        final = stream.get_final_message()
    calls = [block for block in final.content if block.type == "tool_use"]
    expect(len(calls) == 1 and calls[0].input["city"] == "Paris", final)
    expect(final.stop_reason == "tool_use")


def case_count_tokens():
    messages = [{"role": "user", "content": "What is the capital of Norway?"}]
    counted = client.messages.count_tokens(model=MODEL, messages=messages)
    answer = client.messages.create(model=MODEL, max_tokens=1, messages=messages)
    expect(counted.input_tokens == answer.usage.input_tokens, counted, answer.usage)


def case_errors():
    try:
        ask("hi", extra_body={"temperature": -1})
    except anthropic.BadRequestError as error:
        expect("temperature" in str(error) and error.body["type"] == "error", error.body)
    else:
        raise AssertionError("a negative temperature was accepted")
    other = anthropic.Anthropic(base_url=URL, api_key=KEY + "x", max_retries=0)
    try:
        other.messages.create(model=MODEL, max_tokens=1, messages=[{"role": "user", "content": "x"}])
    except anthropic.AuthenticationError:
        return
    raise AssertionError("a wrong key was accepted")


def ollama(path, body=None):
    """The lines of an answer."""
    request = urllib.request.Request(
        URL + path, None if body is None else json.dumps(body).encode(), {"x-api-key": KEY}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return [json.loads(line) for line in answer]


def case_ollama():
    expect([model["name"] for model in ollama("/api/tags")[0]["models"]] == [MODEL])
    expect("completion" in ollama("/api/show", {"model": MODEL})[0]["capabilities"])
    question = "What is the capital of Norway?"
    lines = ollama(
        "/api/chat",
        {"messages": [{"role": "user", "content": question}], "options": {"temperature": 0}},
    )
    text = "".join(line["message"]["content"] for line in lines)
    expect(text == "The capital of Norway is Oslo." and len(lines) > 2, lines)
    expect([line["done"] for line in lines] == [False] * (len(lines) - 1) + [True], lines)
    last = lines[-1]
    expect(last["done_reason"] == "stop" and last["eval_count"] > 0, last)
    expect(0 < last["prompt_eval_duration"] < last["total_duration"], last)
    (whole,) = ollama(
        "/api/generate", {"prompt": question, "stream": False, "options": {"temperature": 0}}
    )
    expect(whole["response"] == text and whole["done"], whole)
    (there,) = ollama("/api/generate", {"model": MODEL})
    expect(there["done_reason"] == "load", there)


if __name__ == "__main__":
    sys.exit(case_runner.run(sys.modules[__name__], sys.argv[3] if len(sys.argv) > 3 else None))
