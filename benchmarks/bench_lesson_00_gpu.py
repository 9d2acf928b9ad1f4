#!/usr/bin/env python3
"""Lesson 00's probe of a GPU beside PyTorch's figures, in one run, in turn.

    python3 benchmarks/bench_lesson_00_gpu.py LESSON_00 [OUT.json]

LESSON_00 is the program that //lessons/00_introduction builds. Reading: torch's sum and amax of 1 GiB; copying: copy_ of
1 GiB; arithmetic: a bf16 product of 8192 x 8192 x 8192. Of both, the best of five runs.
"""

import json
import subprocess
import sys

import torch

N_BYTES = 1 << 30
SIZE = 8192
ROUNDS = 5


def probe(program):
    run = subprocess.run([program, "--on", "gpu", "--shape", "llama-8b", "--probe-again", "--json", "-"],
                         capture_output=True, text=True, check=True)
    gpu = json.loads(run.stdout)["machine"]["gpus"][0]
    return {name: gpu[name] for name in ("read_bytes_s", "copy_bytes_s", "bf16_flop_s")}, gpu["name"]


def seconds(function, n=5):
    """The best of n calls, each timed alone by events on the GPU."""
    function()
    best = float("inf")
    for _ in range(n):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        function()
        end.record()
        torch.cuda.synchronize()
        best = min(best, begin.elapsed_time(end) * 1e-3)
    return best


def peer():
    x = torch.ones(N_BYTES // 4, device="cuda")
    y = torch.empty_like(x)
    a, b = (torch.randn(SIZE, SIZE, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    result = {
        "read_bytes_s": N_BYTES / min(seconds(x.sum), seconds(x.amax)),
        "copy_bytes_s": 2 * N_BYTES / seconds(lambda: y.copy_(x)),
        "bf16_flop_s": 2 * SIZE**3 / seconds(lambda: a @ b.T),
    }
    del x, y, a, b
    torch.cuda.empty_cache()  # for the probe, which needs 2.5 GiB
    return result


def main():
    ours, theirs = [], []
    for _ in range(ROUNDS):
        figures, name = probe(sys.argv[1])
        ours.append(figures)
        theirs.append(peer())
    best = {who: {key: max(r[key] for r in runs) for key in runs[0]}
            for who, runs in (("probe", ours), ("torch", theirs))}
    for key in ours[0]:
        print(f"{key:14} probe {best['probe'][key]:.4g}  torch {best['torch'][key]:.4g}  "
              f"ratio {best['probe'][key] / best['torch'][key]:.3f}")
    result = {"gpu": name, "torch": torch.__version__, "best": best, "probe": ours, "peer": theirs}
    if len(sys.argv) > 2:
        with open(sys.argv[2], "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
