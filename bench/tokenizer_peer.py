"""The Hugging Face tokenizer beside tokenizer_bench: tokenizer_peer.py TOKENIZER DOCUMENTS.

DOCUMENTS is a JSON array of texts a line. A line "encode N" or "decode N" on the standard input runs over
array N once, on one thread, and answers with processor seconds: the quicker of a call for each text
and one call for all. A line "ids N" answers with a checksum of the ids. The first answer is the package's version.
"""

import json
import os
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import tokenizers  # noqa: E402  (reads the environment)


def seconds(call):
    begin = time.process_time()
    call()
    return time.process_time() - begin


def checksum(lists):
    total = 0
    for ids in lists:
        for token in ids:
            total = (total * 31 + token + 1) % (1 << 61)
    return total


def main():
    tokenizer = tokenizers.Tokenizer.from_file(sys.argv[1])
    with open(sys.argv[2], encoding="utf-8") as lines:
        documents = [json.loads(line) for line in lines]
    ids = [[e.ids for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False)] for texts in documents]
    print("tokenizers", tokenizers.__version__, flush=True)
    for line in sys.stdin:
        what, number = line.split()
        texts, lists = documents[int(number)], ids[int(number)]
        if what == "encode":
            one = seconds(lambda: [tokenizer.encode(text, add_special_tokens=False) for text in texts])
            all_ = seconds(lambda: tokenizer.encode_batch_fast(texts, add_special_tokens=False))
            print(min(one, all_), flush=True)
        elif what == "decode":
            one = seconds(lambda: [tokenizer.decode(i, skip_special_tokens=False) for i in lists])
            all_ = seconds(lambda: tokenizer.decode_batch(lists, skip_special_tokens=False))
            print(min(one, all_), flush=True)
        else:
            print(checksum(lists), flush=True)


if __name__ == "__main__":
    main()
