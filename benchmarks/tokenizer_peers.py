"""Our tokenizer beside tiktoken and Hugging Face's tokenizers: the same vocabulary, texts and run.

    pip install tiktoken==0.14.0 tokenizers==0.23.3 gguf==0.19.0
    python3 benchmarks/tokenizer_peers.py MODEL.gguf

MODEL.gguf is the default model (SmolLM2). One thread each; every program encodes the same megabyte
of English, code and Chinese (tokenizer_texts.py), in turn, seven times; the medians of the thread's
processor time are reported.
Caches of words start empty each time: ours in a new thread, tokenizers' in a new object (tiktoken
has none). Each peer is called in the faster of the ways it offers. All must give the same ids.
Writes benchmarks/results/tokenizer.json. AIOS_BAZEL, if set, replaces `bazel`.
"""

import importlib.metadata
import json
import os
import pathlib
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import gguf
import tiktoken
from tokenizers import Tokenizer, models, pre_tokenizers

import record
import tokenizer_texts

ROUNDS = 7
TEXTS = ("english", "code", "chinese")
# GPT-2's expression between number characters that stand alone, in one expression.
PATTERN = (r"'s|'t|'re|'ve|'m|'ll|'d|\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])|\s+")


def read_vocabulary(path):
    fields = gguf.GGUFReader(path).fields
    contents = lambda key: fields["tokenizer.ggml." + key].contents()
    return contents("tokens"), contents("merges")


def make_tiktoken(tokens):
    bytes_of = {letter: byte for byte, letter in letters().items()}
    ranks = {}
    for rank, token in enumerate(tokens):
        if all(letter in bytes_of for letter in token) and rank > 16:  # the first 17 are special
            ranks[bytes(bytes_of[letter] for letter in token)] = rank
    for byte in range(256):  # it insists on all bytes
        ranks.setdefault(bytes([byte]), len(tokens) + byte)
    return tiktoken.Encoding("smollm2", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})


def letters():
    """GPT-2's letter for each byte."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {b: chr(256 + i) for i, b in enumerate(others)}


def make_hugging_face(tokens, merges):
    pairs = [tuple(merge.split(" ")) for merge in merges]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True),
         pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return tokenizer.to_str()


def seconds_of(function):
    start = time.thread_time()  # as our benchmark counts: other programs do not matter
    function()
    return time.thread_time() - start


def ours(program, model, folder, *flags):
    """The runs of the benchmark program, by name."""
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run([*program, f"--model={model}", f"--texts={folder}", *flags,
                        "--benchmark_out=" + out.name], check=True, capture_output=True)
        return {run["name"]: run for run in json.load(open(out.name))["benchmarks"]}


def ours_alone(program, model, folder):
    """What the peers are not asked: loading, encoding with words cached, decoding."""
    runs = ours(program, model, folder, "--benchmark_repetitions=5",
                "--benchmark_report_aggregates_only=true")
    rate = lambda name: round(runs[f"{name}_median"]["bytes_per_second"] / 1e6, 1)
    return {"load_cpu_ms": round(runs["Load_median"]["cpu_time"], 1),
            "encode_warm_mb_per_s": {text: rate(f"EncodeWarm/{text}") for text in TEXTS},
            "decode_mb_per_s": {text: rate(f"Decode/{text}") for text in TEXTS}}


def write_texts(folder):
    sys.argv[1:] = [folder]
    tokenizer_texts.main()


def measure(model, bench_tokenizer, tokenize):
    """What is written to results/tokenizer.json, by these two of our programs."""
    tokens, merges = read_vocabulary(model)
    encoding = make_tiktoken(tokens)
    hugging_face = make_hugging_face(tokens, merges)
    seconds = {name: {text: [] for text in TEXTS} for name in ("aios", "tiktoken", "tokenizers")}
    with tempfile.TemporaryDirectory() as folder:
        write_texts(folder)
        texts = {name: (pathlib.Path(folder) / f"{name}.txt").read_text() for name in TEXTS}

        texts_json = pathlib.Path(folder) / "texts.json"
        texts_json.write_text(json.dumps(list(texts.values())))
        output = subprocess.run([tokenize, "--model", model, "--input", texts_json],
                                check=True, capture_output=True).stdout
        for text, ids in zip(texts.values(), json.loads(output)):
            assert ids == encoding.encode_ordinary(text), "tiktoken gives other ids"
            assert ids == Tokenizer.from_str(hugging_face).encode(text).ids, "tokenizers gives other ids"

        program = [bench_tokenizer]
        for _ in range(ROUNDS):
            runs = ours(program, model, folder, "--benchmark_filter=EncodeCold",
                        "--benchmark_min_time=0.01")
            for name in TEXTS:
                run = runs[f"EncodeCold/{name}/manual_time"]
                seconds["aios"][name].append(run["real_time"] / 1000)
            for name, text in texts.items():
                seconds["tiktoken"][name].append(
                    min(seconds_of(lambda: encoding.encode_ordinary(text)),
                        seconds_of(lambda: encoding.encode_to_numpy(text, disallowed_special=()))))
                fresh = [Tokenizer.from_str(hugging_face) for _ in range(2)]
                seconds["tokenizers"][name].append(
                    min(seconds_of(lambda: fresh[0].encode(text)),
                        seconds_of(lambda: fresh[1].encode_batch_fast([text]))))
        alone = ours_alone(program, model, folder)

    size = {name: len(text.encode()) for name, text in texts.items()}
    result = {
        "machine": record.machine(),
        "commit": record.commit(),
        "command": "python3 benchmarks/tokenizer_peers.py MODEL.gguf",
        "versions": {"python": platform.python_version(),
                     **{name: importlib.metadata.version(name) for name in ("tiktoken", "tokenizers")}},
        "rounds": ROUNDS,
        "same_ids": True,
        "texts": {},
        "aios_alone": alone,
    }
    for name in TEXTS:
        rate = {peer: size[name] / statistics.median(seconds[peer][name]) / 1e6 for peer in seconds}
        result["texts"][name] = {
            "bytes": size[name],
            "mb_per_s": {peer: round(value, 2) for peer, value in rate.items()},
            "times_tiktoken": round(rate["aios"] / rate["tiktoken"], 2),
            "times_tokenizers": round(rate["aios"] / rate["tokenizers"], 2),
        }
    return result


def main():
    model = str(pathlib.Path(sys.argv[1]).resolve())
    bazel = shlex.split(os.environ.get("AIOS_BAZEL", "bazel"))
    subprocess.run([*bazel, "build", "//benchmarks:bench_tokenizer", "//tools:tokenize"],
                   cwd=record.ROOT, check=True)
    bin_dir = subprocess.run([*bazel, "info", "bazel-bin"], cwd=record.ROOT, check=True,
                             capture_output=True, text=True).stdout.strip()
    result = measure(model, f"{bin_dir}/benchmarks/bench_tokenizer", f"{bin_dir}/tools/tokenize")
    out = record.ROOT / "benchmarks" / "results" / "tokenizer.json"
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["texts"], indent=1))


if __name__ == "__main__":
    main()
