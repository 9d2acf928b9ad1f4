#!/usr/bin/env python3
"""transformers' generate in static batches on a workload, beside which our engine stands.

    python3 benchmarks/trace_peer.py --shape llama-8b --workload FILE.json [--limit K] [--json FILE]
    python3 benchmarks/trace_peer.py --draw FILE.json [--requests 256] [--seed 1]

The workload is an array of {"arrival", "prompt_tokens", "output_tokens"} (common/sched/workload.h);
--draw writes one: all at once, prompts and answers of 100 to 1,024 tokens, uniform. Requests go in
the file's order in batches of --batch, prompts padded on the left to the longest, greedy, no end
token: a batch runs until its longest answer is complete. bf16, random weights of the shape, which
take the same time. Counted are only the tokens that requests want. --limit K: only the first K
batches, since a batch of an 8B model takes half a minute. Prints JSON. Needs torch and transformers.
"""

import argparse
import json
import pathlib
import random
import sys
import time

# (architecture, d_model, layers, heads, kv heads, head_dim, d_ff, vocabulary, tied), as in
# common/model/shapes.cc.
SHAPES = {
    "qwen3-0.6b": ("qwen3", 1024, 28, 16, 8, 128, 3072, 151936, True),
    "llama-1b": ("llama", 2048, 16, 32, 8, 64, 8192, 128256, True),
    "llama-8b": ("llama", 4096, 32, 32, 8, 128, 14336, 128256, False),
}


def flags():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="qwen3-0.6b")
    parser.add_argument("--workload", type=pathlib.Path)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--limit", type=int, help="only the first K batches")
    parser.add_argument("--json", type=pathlib.Path, help="also write the JSON there")
    parser.add_argument("--draw", type=pathlib.Path, help="write a workload, and measure nothing")
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if (options.draw is None) == (options.workload is None):
        parser.error("give either --workload or --draw")
    if options.batch < 1 or options.requests < 1 or (options.limit is not None and options.limit < 1):
        parser.error("--batch, --requests and --limit must be at least 1")
    return options


def draw(options):
    numbers = random.Random(options.seed)
    requests = [{"arrival": 0, "prompt_tokens": numbers.randint(100, 1024),
                 "output_tokens": numbers.randint(100, 1024)} for _ in range(options.requests)]
    options.draw.write_text(json.dumps(requests) + "\n")


def read(path):
    try:
        requests = json.loads(path.read_text())
        return [(int(r["prompt_tokens"]), int(r["output_tokens"])) for r in requests]
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"error: {path}: no workload: {error}")


def load(shape):
    import torch
    import transformers

    architecture, d_model, n_layers, n_heads, n_kv_heads, head_dim, d_ff, vocab_size, tied = SHAPES[shape]
    kind = transformers.Qwen3Config if architecture == "qwen3" else transformers.LlamaConfig
    config = kind(
        hidden_size=d_model, num_hidden_layers=n_layers, num_attention_heads=n_heads,
        num_key_value_heads=n_kv_heads, head_dim=head_dim, intermediate_size=d_ff,
        vocab_size=vocab_size, max_position_embeddings=8192, tie_word_embeddings=tied,
        bos_token_id=None, eos_token_id=None, pad_token_id=0)
    torch.manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    return model.eval()


def generate(model, batch, numbers):
    """Seconds for the batch, [(prompt tokens, output tokens)]."""
    import torch

    longest = max(n for n, _ in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, (n, _) in enumerate(batch):
        ids[row, longest - n:] = torch.tensor(
            [numbers.randrange(1, model.config.vocab_size) for _ in range(n)])
        mask[row, longest - n:] = 1
    n_new = max(n for _, n in batch)
    ids, mask = ids.cuda(), mask.cuda()
    torch.cuda.synchronize()
    start = time.perf_counter()
    with torch.no_grad():
        out = model.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=n_new,
                             eos_token_id=None, pad_token_id=0)
    torch.cuda.synchronize()
    assert out.shape[1] == longest + n_new, out.shape
    return time.perf_counter() - start


def measure(options):
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    requests = read(options.workload)
    model = load(options.shape)
    numbers = random.Random(2)
    batches = [requests[i:i + options.batch] for i in range(0, len(requests), options.batch)]
    batches = batches[:options.limit]
    generate(model, [(n, 8) for n, _ in batches[0]], numbers)  # loads kernels
    seconds, tokens = [], []
    for batch in batches:
        seconds.append(generate(model, batch, numbers))
        tokens.append(sum(n for _, n in batch))
        print(f"{len(batch)} requests: {seconds[-1]:.1f} s, {tokens[-1] / seconds[-1]:.0f} tok/s",
              file=sys.stderr, flush=True)
    return {
        "peer": f"transformers {transformers.__version__}, torch {torch.__version__}",
        "device": torch.cuda.get_device_name(),
        "shape": options.shape,
        "workload": options.workload.name,
        "batch": options.batch,
        "batches": len(batches),
        "of_batches": -(-len(requests) // options.batch),
        "output_tokens": sum(tokens),
        "seconds": round(sum(seconds), 3),
        "output_tok_s": round(sum(tokens) / sum(seconds), 1),
        "seconds_of_batches": [round(s, 3) for s in seconds],
    }


def main():
    options = flags()
    if options.draw:
        return draw(options)
    text = json.dumps(measure(options), indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
