#!/usr/bin/env python3
"""Causal attention through PyTorch's FlashAttention-2 and cuDNN, on the shapes of bench_attention.

    attention_peers.py [--json FILE]

Timed as there: the median over replays of a CUDA graph of several calls. Keys and values are
contiguous here (no pages): the peers have the easier task.
"""

import argparse
import json
import statistics

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

BACKENDS = {
    "flash_attention_2": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}

# n_seqs, n_rows, n_heads, n_kv_heads, head_dim
CASES = [
    (1, 8192, 32, 32, 128),
    (1, 2048, 32, 32, 128),
    (4, 4096, 32, 32, 128),
    (1, 8192, 32, 8, 128),
    (1, 2048, 32, 8, 128),
    (4, 4096, 32, 8, 128),
    (1, 512, 32, 8, 128),
    (16, 512, 32, 8, 128),
    (1, 16384, 32, 8, 128),
    (1, 8192, 32, 32, 64),
    (4, 2048, 32, 8, 64),
]
LAUNCHES = 5


def median_seconds(call):
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(LAUNCHES):
            call()
    times = []
    total = 0
    while total < 0.2 or len(times) < 11:  # Seconds; the first quarter warms up.
        begin = torch.cuda.Event(enable_timing=True)
        end = torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        seconds = begin.elapsed_time(end) * 1e-3
        total += seconds
        if total > 0.05:
            times.append(seconds / LAUNCHES)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json")
    args = parser.parse_args()
    rows = []
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, bf16, causal, TFLOP/s")
    for n_seqs, n, n_heads, n_kv_heads, head_dim in CASES:
        q = torch.randn(n_seqs, n_heads, n, head_dim, device="cuda", dtype=torch.bfloat16)
        k = torch.randn(n_seqs, n_kv_heads, n, head_dim, device="cuda", dtype=torch.bfloat16)
        v = torch.randn_like(k)
        flops = 4 * n * n * head_dim * n_heads * n_seqs / 2
        row = {"n_seqs": n_seqs, "n_rows": n, "kv_length": n, "n_heads": n_heads,
               "n_kv_heads": n_kv_heads, "head_dim": head_dim}
        for name, backend in BACKENDS.items():
            with sdpa_kernel(backend):
                seconds = median_seconds(lambda: scaled_dot_product_attention(
                    q, k, v, is_causal=True, enable_gqa=n_kv_heads != n_heads))
            row[name + "_us"] = round(seconds * 1e6, 2)
            row[name + "_tflops"] = round(flops / seconds * 1e-12, 1)
        rows.append(row)
        print(f"{n_seqs:3d} x {n:5d}  {n_heads}/{n_kv_heads} heads of {head_dim:3d}"
              f"  FlashAttention-2 {row['flash_attention_2_tflops']:6.1f}"
              f"  cuDNN {row['cudnn_tflops']:6.1f}", flush=True)
    if args.json:
        with open(args.json, "w") as file:
            json.dump({"device": torch.cuda.get_device_name(), "torch": torch.__version__,
                       "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
