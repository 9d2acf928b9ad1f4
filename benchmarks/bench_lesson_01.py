#!/usr/bin/env python3
"""Lesson 01's tokenizer beside tiktoken and Hugging Face's tokenizers: encoding, and training.

    pip install tiktoken==0.14.0 tokenizers==0.23.3 gguf==0.19.0
    bazel run //benchmarks:bench_lesson_01

Encoding: as tokenizer_peers.py says, with the same ids. Training: 8,192 tokens from the same texts,
one thread each, processor time, the best of three; tiktoken has no trainer. Writes
benchmarks/results/bench_lesson_01.json.
"""

import json
import os
import pathlib
import sys
import tempfile

try:
    import tokenizer_peers as peers
    import record
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
except ImportError as error:
    print(f"error: {error}: pip install tiktoken==0.14.0 tokenizers==0.23.3 gguf==0.19.0", file=sys.stderr)
    sys.exit(2)

VOCAB_SIZE = 8192


def seconds_of_hugging_face(text):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, min_frequency=2, show_progress=False, special_tokens=[],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    seconds = peers.seconds_of(lambda: tokenizer.train_from_iterator([text], trainer))
    return seconds, tokenizer.get_vocab_size()


def training(bench_tokenizer, model):
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        peers.write_texts(folder)
        runs = peers.ours([bench_tokenizer], model, folder, "--benchmark_filter=Train/",
                          "--benchmark_repetitions=3")
        for name in peers.TEXTS:
            text = (pathlib.Path(folder) / f"{name}.txt").read_text()
            theirs, n_tokens = min(seconds_of_hugging_face(text) for _ in range(3))
            run = runs[f"Train/{name}"]
            assert run["tokens"] == n_tokens, (name, run["tokens"], n_tokens)
            result[name] = {"bytes": len(text.encode()), "tokens": n_tokens,
                            "seconds": {"aios": round(run["cpu_time"] / 1000, 3),
                                        "tokenizers": round(theirs, 3)},
                            "times_tokenizers": round(theirs / (run["cpu_time"] / 1000), 2)}
    return result


def main():
    bench_tokenizer, tokenize, model = (os.path.abspath(path) for path in sys.argv[1:4])
    result = peers.measure(model, bench_tokenizer, tokenize)
    result["command"] = "bazel run //benchmarks:bench_lesson_01"
    result["training"] = training(bench_tokenizer, model)
    out = record.ROOT / "benchmarks" / "results" / "bench_lesson_01.json"
    out.write_text(json.dumps(result, indent=1) + "\n")

    print(f"{'encoding, MB/s':<16}{'aios':>8}{'tiktoken':>10}{'tokenizers':>12}")
    for name, text in result["texts"].items():
        rate = text["mb_per_s"]
        print(f"  {name:<14}{rate['aios']:>8.1f}{rate['tiktoken']:>10.1f}{rate['tokenizers']:>12.1f}")
    print(f"{'training, s':<16}{'aios':>8}{'':>10}{'tokenizers':>12}")
    for name, text in result["training"].items():
        print(f"  {name:<14}{text['seconds']['aios']:>8.2f}{'':>10}{text['seconds']['tokenizers']:>12.2f}")


if __name__ == "__main__":
    main()
