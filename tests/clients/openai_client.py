"""The `openai` package against a running server with fathom-tiny: openai_client.py URL KEY [CASE]."""

import json
import random
import socket
import sys
import threading
from urllib.parse import urlparse

import openai
import pydantic

import case_runner

URL = sys.argv[1]
KEY = sys.argv[2]
client = openai.OpenAI(base_url=URL + "/v1", api_key=KEY, max_retries=0, timeout=120)
MODEL = client.models.list().data[0].id


def expect(condition, *what):
    if not condition:
        raise AssertionError(" ".join(repr(each) if not isinstance(each, str) else each for each in what))


def ask(text, **more):
    more.setdefault("temperature", 0)
    return client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": text}], **more
    )


def refused(error, function, *parts):
    try:
        function()
    except error as refusal:
        for part in parts:
            expect(part in str(refusal), part, "is not in", str(refusal))
        return refusal
    raise AssertionError(f"{error.__name__} was expected")


def case_models():
    expect(client.models.retrieve(MODEL).id == MODEL)
    refused(openai.NotFoundError, lambda: client.models.retrieve("nothing"), "does not exist")


def case_chat():
    answer = ask("What is the capital of Norway?")
    choice = answer.choices[0]
    expect(choice.message.content == "The capital of Norway is Oslo.", choice.message.content)
    expect(choice.message.role == "assistant" and choice.finish_reason == "stop")
    expect(not choice.message.tool_calls)
    usage = answer.usage
    expect(usage.total_tokens == usage.prompt_tokens + usage.completion_tokens)
    expect(answer.object == "chat.completion" and answer.model == MODEL)


def case_chat_stream():
    whole = ask("tell me a joke").choices[0].message.content
    text, finishes, usage = "", [], None
    for chunk in ask("tell me a joke", stream=True, stream_options={"include_usage": True}):
        expect(chunk.object == "chat.completion.chunk")
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            if choice.finish_reason:
                finishes.append(choice.finish_reason)
    expect(text == whole, text, whole)
    expect(finishes == ["stop"], finishes)
    expect(usage is not None and usage.completion_tokens > 0)


def case_several_choices():
    answer = ask("tell me a story", n=3, temperature=1, seed=7, max_tokens=12)
    expect([choice.index for choice in answer.choices] == [0, 1, 2])
    again = ask("tell me a story", n=3, temperature=1, seed=7, max_tokens=12)
    expect(
        [c.message.content for c in answer.choices] == [c.message.content for c in again.choices]
    )


def case_reasoning():
    answer = ask("What is 347 + 285?", extra_body={"chat_template_kwargs": {"thinking": True}})
    message = answer.choices[0].message
    expect("632" in message.content and "<think>" not in message.content, message.content)
    expect("7 + 5" in message.reasoning_content, message.reasoning_content)
    expect(answer.usage.model_dump()["reasoning_tokens"] > 0)


def case_reasoning_stream():
    content = reasoning = ""
    for chunk in ask(
        "What is 347 + 285?", stream=True, extra_body={"chat_template_kwargs": {"thinking": True}}
    ):
        delta = chunk.choices[0].delta
        expect(not (reasoning and content and getattr(delta, "reasoning_content", None)))
        reasoning += getattr(delta, "reasoning_content", None) or ""
        content += delta.content or ""
    expect("7 + 5" in reasoning and "632" in content, reasoning, content)


# One of the tools that fathom-tiny learned to call.
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather for a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "The city name"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city"],
        },
    },
}
IN_PARIS = {"city": "Paris", "unit": "celsius"}


def get_weather(city, unit):
    return json.dumps({"city": city, "temperature": 21, "unit": unit, "condition": "sunny"})


def case_tool_call_round_trip():
    messages = [{"role": "user", "content": "What is the weather in Paris in celsius?"}]
    first = client.chat.completions.create(
        model=MODEL, messages=messages, tools=[WEATHER], temperature=0
    )
    choice = first.choices[0]
    expect(choice.finish_reason == "tool_calls", choice)
    calls = choice.message.tool_calls
    expect(len(calls) == 1 and calls[0].function.name == "get_weather", calls)
    expect(calls[0].id.startswith("call_") and calls[0].type == "function")
    arguments = json.loads(calls[0].function.arguments)
    expect(arguments == IN_PARIS, arguments)
    messages.append(choice.message.model_dump(exclude_none=True))
    messages.append(
        {"role": "tool", "tool_call_id": calls[0].id, "content": get_weather(**arguments)}
    )
    second = client.chat.completions.create(
        model=MODEL, messages=messages, tools=[WEATHER], temperature=0
    )
    expect(second.choices[0].finish_reason == "stop")
    expect("21" in second.choices[0].message.content, second.choices[0].message.content)


def case_tool_call_stream():
    calls, finish = {}, None
    for chunk in client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "What is the weather in Paris in celsius?"}],
        tools=[WEATHER],
        temperature=0,
        stream=True,
    ):
        choice = chunk.choices[0]
        finish = choice.finish_reason or finish
        for call in choice.delta.tool_calls or []:
            known = calls.setdefault(call.index, {"id": None, "name": "", "arguments": ""})
            known["id"] = call.id or known["id"]
            known["name"] += call.function.name or ""
            known["arguments"] += call.function.arguments or ""
    expect(finish == "tool_calls", finish)
    expect(list(calls) == [0] and calls[0]["name"] == "get_weather" and calls[0]["id"])
    expect(json.loads(calls[0]["arguments"]) == IN_PARIS, calls)


def case_tool_choice():
    strict = {"type": "function", "function": {**WEATHER["function"], "strict": True}}
    answer = ask("hi", tools=[strict], tool_choice="required", max_tokens=200)
    calls = answer.choices[0].message.tool_calls
    expect(calls and calls[0].function.name == "get_weather", answer)
    expect(isinstance(json.loads(calls[0].function.arguments)["city"], str))
    answer = ask("What is the weather in Paris in celsius?", tools=[WEATHER], tool_choice="none")
    expect(not answer.choices[0].message.tool_calls)
    refused(openai.BadRequestError, lambda: ask("hi", tool_choice="required"), "tool")


class Person(pydantic.BaseModel):
    name: str
    age: int
    city: str


def case_structured_output():
    completion = client.chat.completions.parse(
        model=MODEL,
        messages=[
            {"role": "user", "content": "Give me JSON for this: name Anna, age 30, city Paris."}
        ],
        response_format=Person,
        temperature=0,
    )
    parsed = completion.choices[0].message.parsed
    expect(parsed == Person(name="Anna", age=30, city="Paris"), parsed)


def case_structured_output_without_being_asked():
    answer = ask(
        "tell me a joke",
        max_tokens=400,
        response_format={
            "type": "json_schema",
            "json_schema": {
                "name": "mood",
                "strict": True,
                "schema": {
                    "type": "object",
                    "properties": {
                        "mood": {"enum": ["good", "bad"]},
                        "words": {"type": "array", "items": {"type": "integer"}, "maxItems": 3},
                    },
                    "required": ["mood", "words"],
                    "additionalProperties": False,
                },
            },
        },
    )
    value = json.loads(answer.choices[0].message.content)
    expect(set(value) == {"mood", "words"} and value["mood"] in ("good", "bad"), value)
    wrong = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}
    refused(openai.BadRequestError, lambda: ask("hi", response_format=wrong), "nonsense")


def case_stop_and_bias():
    answer = ask("What is the capital of Norway?", stop=[" is"])
    expect(answer.choices[0].message.content == "The capital of Norway", answer)
    expect(answer.choices[0].finish_reason == "stop")
    expect(answer.choices[0].model_dump()["matched_stop"] == " is")
    refused(openai.BadRequestError, lambda: ask("hi", logit_bias={"99999999": 1}), "logit_bias")


def case_logprobs():
    answer = ask("hi", logprobs=True, top_logprobs=3, max_tokens=4)
    entries = answer.choices[0].logprobs.content
    expect(len(entries) == answer.usage.completion_tokens)
    for entry in entries:
        expect(len(entry.top_logprobs) == 3 and entry.logprob <= 0)
        expect(entry.top_logprobs[0].logprob >= entry.logprob - 1e-6)


def case_completions():
    answer = client.completions.create(
        model=MODEL, prompt=["a b c", [5, 6, 7]], max_tokens=3, temperature=0, echo=True
    )
    expect([choice.index for choice in answer.choices] == [0, 1])
    expect(answer.choices[0].text.startswith("a b c"))
    refused(
        openai.BadRequestError,
        lambda: client.completions.create(model=MODEL, prompt="x", suffix="y"),
        "suffix",
    )


def case_embeddings_are_refused():
    refused(
        openai.BadRequestError,
        lambda: client.embeddings.create(model=MODEL, input="x"),
        "embedding model",
    )


def case_wrong_fields_are_named():
    refused(openai.BadRequestError, lambda: ask("hi", temperature=-1), "temperature")
    refused(openai.BadRequestError, lambda: ask("hi", max_tokens=10**7), "tokens")
    message = {"role": "nobody", "content": "x"}
    refused(
        openai.BadRequestError,
        lambda: client.chat.completions.create(model=MODEL, messages=[message]),
        "messages[0]",
    )


def case_wrong_key():
    other = openai.OpenAI(base_url=URL + "/v1", api_key=KEY + "x", max_retries=0)
    refused(openai.AuthenticationError, other.models.list)


def case_responses():
    answer = client.responses.create(
        model=MODEL,
        instructions="",
        input="What is the capital of Norway?",
        temperature=0,
        metadata={"topic": "capitals"},
    )
    expect(answer.output_text == "The capital of Norway is Oslo.", answer.output_text)
    expect(answer.status == "completed" and answer.id.startswith("resp_"), answer)
    expect(answer.model == MODEL and answer.metadata == {"topic": "capitals"})
    usage = answer.usage
    expect(usage.output_tokens > 0 and usage.input_tokens_details.cached_tokens >= 0)
    expect(usage.total_tokens == usage.input_tokens + usage.output_tokens, usage)
    # Every member is of the type that the package declares.
    type(answer).model_validate(answer.model_dump(by_alias=True))


def case_responses_cut():
    answer = client.responses.create(
        model=MODEL,
        input="What is the capital of Norway?",
        temperature=0,
        max_output_tokens=3,
        top_logprobs=2,
        include=["message.output_text.logprobs"],
    )
    expect(answer.status == "incomplete", answer.status)
    expect(answer.incomplete_details.reason == "max_output_tokens")
    entries = answer.output[0].content[0].logprobs
    expect(len(entries) == 3 and len(entries[0].top_logprobs) == 2, entries)
    expect("".join(entry.token for entry in entries) == answer.output_text, entries)


def case_responses_stream():
    text, events = "", []
    with client.responses.stream(
        model=MODEL, input="What is the capital of Norway?", temperature=0
    ) as stream:
        for event in stream:
            events.append(event)
            if event.type == "response.output_text.delta":
                text += event.delta
        final = stream.get_final_response()
    kinds = [event.type for event in events]
    expect(text == "The capital of Norway is Oslo." == final.output_text, text)
    expect(kinds[0] == "response.created" and kinds[-1] == "response.completed", kinds)
    expect([event.sequence_number for event in events] == list(range(len(events))))


def case_responses_reasoning():
    items = [{"role": "user", "content": "What is 347 + 285?"}]
    whole = client.responses.create(
        model=MODEL, input=items, temperature=0, reasoning={"effort": "medium"}
    )
    expect([item.type for item in whole.output] == ["reasoning", "message"], whole.output)
    thoughts = whole.output[0].content[0].text
    expect("7 + 5" in thoughts and "632" in whole.output_text, whole.output)
    expect(whole.usage.output_tokens_details.reasoning_tokens > 0)
    streamed = ""
    for event in client.responses.create(
        model=MODEL, input=items, temperature=0, reasoning={"effort": "medium"}, stream=True
    ):
        streamed += event.delta if event.type == "response.reasoning_text.delta" else ""
    expect(streamed == thoughts, streamed, thoughts)
    # What a response gave is what the next request brings.
    items += [item.model_dump(exclude_none=True) for item in whole.output]
    items += [{"role": "user", "content": "What is the capital of Norway?"}]
    told = client.responses.create(
        model=MODEL, input=items, temperature=0, reasoning={"effort": "none"}
    )
    expect([item.type for item in told.output] == ["message"], told.output)


RESPONSES_WEATHER = {"type": "function", **WEATHER["function"]}


def case_responses_tools():
    items = [{"role": "user", "content": "What is the weather in Paris in celsius?"}]
    first = client.responses.create(
        model=MODEL, input=items, tools=[RESPONSES_WEATHER], temperature=0
    )
    type(first).model_validate(first.model_dump(by_alias=True))
    calls = [item for item in first.output if item.type == "function_call"]
    expect(len(calls) == 1 and json.loads(calls[0].arguments) == IN_PARIS, first.output)
    items += [calls[0].model_dump(exclude_none=True)]
    items += [
        {
            "type": "function_call_output",
            "call_id": calls[0].call_id,
            "output": get_weather(**IN_PARIS),
        }
    ]
    second = client.responses.create(
        model=MODEL, input=items, tools=[RESPONSES_WEATHER], temperature=0
    )
    expect("21" in second.output_text, second.output_text)


def case_responses_tools_stream():
    with client.responses.stream(
        model=MODEL,
        input="What is the weather in Paris in celsius?",
        tools=[RESPONSES_WEATHER],
        temperature=0,
    ) as stream:
        arguments = ""
        for event in stream:
            if event.type == "response.function_call_arguments.delta":
                arguments += event.delta
        final = stream.get_final_response()
    expect(json.loads(arguments) == IN_PARIS, arguments)
    expect(final.output[-1].arguments == arguments and final.output[-1].status == "completed")


def case_responses_structured_output():
    answer = client.responses.parse(
        model=MODEL,
        input="Give me JSON for this: name Anna, age 30, city Paris.",
        text_format=Person,
        temperature=0,
    )
    expect(answer.output_parsed == Person(name="Anna", age=30, city="Paris"), answer)


def case_responses_are_not_stored():
    answer = client.responses.create(model=MODEL, input="hi", store=True, max_output_tokens=1)
    refused(openai.NotFoundError, lambda: client.responses.retrieve(answer.id), "keeps no responses")
    refused(openai.NotFoundError, lambda: client.responses.cancel(answer.id), "keeps no responses")
    refused(
        openai.BadRequestError,
        lambda: client.responses.create(model=MODEL, input="hi", previous_response_id=answer.id),
        "previous_response_id",
    )


def case_files_and_batches():
    lines = [
        {
            "custom_id": f"line-{i}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": MODEL,
                "messages": [{"role": "user", "content": f"{i} + {i}"}],
                "temperature": 0 if i != 3 else -1,
            },
        }
        for i in range(8)
    ]
    text = "\n".join(json.dumps(line) for line in lines)
    file = client.files.create(file=("lines.jsonl", text.encode()), purpose="batch")
    expect(file.bytes == len(text.encode()) and file.filename == "lines.jsonl")
    expect(client.files.content(file.id).text == text)
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    while batch.status in ("validating", "in_progress", "finalizing"):
        batch = client.batches.retrieve(batch.id)
    expect(batch.status == "completed", batch)
    expect(batch.request_counts.completed == 7 and batch.request_counts.failed == 1)
    results = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
    told = {
        result["custom_id"]: result["response"]["body"]["choices"][0]["message"]["content"]
        for result in results
    }
    expect("10" in told["line-5"] and "line-3" not in told, told)
    errors = client.files.content(batch.error_file_id).text
    expect('"line-3"' in errors and "temperature" in errors, errors)
    expect(batch.id in [each.id for each in client.batches.list()])
    client.files.delete(file.id)
    refused(openai.NotFoundError, lambda: client.files.retrieve(file.id))


def case_parallel_with_aborts():
    chance = random.Random(1)
    wanted = ask("What is the capital of Norway?").choices[0].message.content
    problems = []

    def one(cuts):
        try:
            stream = ask("What is the capital of Norway?", stream=True)
            text = ""
            for index, chunk in enumerate(stream):
                if cuts is not None and index >= cuts:
                    stream.close()
                    return
                text += "".join(choice.delta.content or "" for choice in chunk.choices)
            expect(text == wanted, text)
        except Exception as error:
            problems.append(error)

    threads = [
        threading.Thread(target=one, args=(chance.choice([None, None, 0, 1, 3]),))
        for _ in range(64)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(not problems, problems)
    expect(ask("What is the capital of Norway?").choices[0].message.content == wanted)


def raw(text, read=True, half_close=False):
    where = urlparse(URL)
    with socket.create_connection((where.hostname, where.port), timeout=60) as connection:
        connection.sendall(text)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while read:
            piece = connection.recv(65536)
            if not piece:
                break
            answer += piece
        return answer


def post(body, length=None):
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: application/json\r\nConnection: close\r\n"
        f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body


def case_oversize_body():
    answer = raw(post(b"{", length=1 << 40))
    expect(answer.startswith(b"HTTP/1.1 413"), answer[:200])


def case_half_closed_socket():
    body = json.dumps({"messages": [{"role": "user", "content": "hi"}], "temperature": 0}).encode()
    answer = raw(post(body), half_close=True)
    expect(answer.startswith(b"HTTP/1.1 200") and b'"finish_reason":"stop"' in answer, answer[:300])


if __name__ == "__main__":
    sys.exit(case_runner.run(sys.modules[__name__], sys.argv[3] if len(sys.argv) > 3 else None))
