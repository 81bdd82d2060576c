"""What the Hugging Face tokenizer makes of texts and ids: tokenizer_peer.py QUESTIONS ANSWERS.

QUESTIONS has a JSON object a line: "tokenizer" is the text of a tokenizer.json or, as "file", where
one is; "texts" are to be encoded, "ids" (lists) to be decoded. With "special" true the post-processor
adds its tokens. ANSWERS gets a line each: "encoded", the ids of each text; "decoded" and "skipped", the
text of each encoded and then each given list of ids, without and with skip_special_tokens. A tokenizer
that is refused gives "refused", the reason, alone.
"""

import json
import os
import sys

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from tokenizers import Tokenizer  # noqa: E402  (reads the environment)


def answer(question):
    try:
        if "file" in question:
            tokenizer = Tokenizer.from_file(question["file"])
        else:
            tokenizer = Tokenizer.from_str(question["tokenizer"])
    except Exception as reason:  # the package raises plain exceptions
        return {"refused": str(reason)}
    tokenizer.no_truncation()
    tokenizer.no_padding()
    special = question.get("special", False)
    encoded = [tokenizer.encode(text, add_special_tokens=special).ids for text in question["texts"]]
    lists = encoded + question.get("ids", [])
    return {
        "encoded": encoded,
        "decoded": [tokenizer.decode(ids, skip_special_tokens=False) for ids in lists],
        "skipped": [tokenizer.decode(ids, skip_special_tokens=True) for ids in lists],
    }


def main():
    questions, answers = sys.argv[1:]
    with open(questions, encoding="utf-8") as lines, open(answers, "w", encoding="utf-8") as out:
        for line in lines:
            json.dump(answer(json.loads(line)), out, ensure_ascii=False, separators=(",", ":"))
            out.write("\n")


if __name__ == "__main__":
    main()
