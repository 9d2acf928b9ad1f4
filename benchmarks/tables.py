#!/usr/bin/env python3
"""Writes the tables of figures in the READMEs from benchmarks/results.

    python3 benchmarks/tables.py            rewrites them
    python3 benchmarks/tables.py --check    fails if one is not what it would write

A table stands between the lines <!-- table NAME --> and <!-- end of table -->.
"""

import json
import pathlib
import re
import statistics
import sys

# Not resolved: in a test, the files beside this one are links.
ROOT = pathlib.Path(__file__).absolute().parent.parent
READMES = ["README.md", "lessons/02_running_an_llm/README.md"]


def result(name):
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def measured_on(*results):
    """One line that says which machine, and which commits."""
    machine = results[0]["machine"]
    commits = sorted({r["commit"] for r in results})
    return f"Measured on {machine['cpu']}, {machine['cores']} cores, at commit {', '.join(commits)}."


def seconds(benchmark):
    """The median over the repetitions, or the only run."""
    scale = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1}[benchmark[0]["time_unit"]]
    return statistics.median(b["real_time"] for b in benchmark) * scale


def benchmarks(name):
    """Runs by name, without Google Benchmark's aggregates."""
    runs = {}
    for run in result(name)["benchmarks"]:
        if run["run_type"] == "iteration":
            runs.setdefault(run["run_name"].removesuffix("/real_time"), []).append(run)
    return runs


def lesson_02():
    report = result("02_running_an_llm")
    run = report["runs"][-1]
    n_tokens = len(run["outputs"][0]["tokens"])
    rows = [
        ["tokens of an answer", "1", str(n_tokens)],
        ["time to first token", f"{report['runs'][0]['ttft_ms']:.0f} ms", f"{run['ttft_ms']:.0f} ms"],
        ["time per token after it", "", f"{run['tpot_ms']:.0f} ms"],
        ["tokens per second", "", f"{run['decode_tok_s']:.1f}"],
        ["limit: measured read bandwidth / f32 weights", "",
         f"{report['machine']['read_gb_s'] * 1e9 / run['bytes_per_token']:.1f}"],
        ["fraction of the limit", "", f"{100 * run['roofline_fraction']:.0f}%"],
        ["memory", f"{report['runs'][0]['peak_bytes'] / 1e6:.0f} MB", f"{run['peak_bytes'] / 1e6:.0f} MB"],
    ]
    return table(["", "before: one pass", "after: the loop"], rows) + "\n\n" + measured_on(report)


def ground_floor():
    tokenizer, reference = result("tokenizer"), result("bench_reference")
    rows = []
    for name, text in tokenizer["texts"].items():
        speed = text["mb_per_s"]
        rows.append([
            f"tokenizer, {name}", f"{speed['aios']:.1f} MB/s",
            f"tiktoken {speed['tiktoken']:.1f}, tokenizers {speed['tokenizers']:.2f} MB/s",
            f"{text['times_tiktoken']:.1f}x, {text['times_tokenizers']:.0f}x",
        ])
    runs = benchmarks("bench_reference")
    for n in (32, 128, 512):
        ours, eigen = (statistics.median(r["GFLOP/s"] for r in runs[f"BM_{kind}/{n}"])
                       for kind in ("Forward", "EigenProducts"))
        rows.append([f"reference model, {n} tokens", f"{ours:.0f} GFLOP/s",
                     f"Eigen's products alone: {eigen:.0f} GFLOP/s", f"{100 * ours / eigen:.0f}%"])
    loader = benchmarks("bench_loader")
    load = tokenizer["aios_alone"]["load_cpu_ms"]
    rows.append(["opening the default model, warm", f"{seconds(loader['Open']) * 1e3 + load:.0f} ms",
                 f"of which its tokenizer {load:.0f} ms", ""])
    return (table(["what", "AIOS", "beside it, in the same run", "ratio"], rows) + "\n\n" +
            measured_on(tokenizer, reference, result("bench_loader")))


TABLES = {"lesson_02": lesson_02, "ground_floor": ground_floor}


def main():
    pattern = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end of table -->)", re.S)
    stale = []
    for name in READMES:
        path = ROOT / name
        old = path.read_text()
        new = pattern.sub(lambda m: m[1] + TABLES[m[2]]() + "\n" + m[3], old)
        if new == old:
            continue
        stale.append(name)
        if sys.argv[1:] != ["--check"]:
            path.write_text(new)
    if sys.argv[1:] == ["--check"] and stale:
        sys.exit(f"stale tables, run python3 benchmarks/tables.py: {', '.join(stale)}")


if __name__ == "__main__":
    main()
