#!/usr/bin/env python3
"""Writes the figures in the READMEs, tables and sentences, from benchmarks/results.

    python3 benchmarks/tables.py            rewrites them
    python3 benchmarks/tables.py --check    fails if one is not what it would write

What is written stands between the lines <!-- table NAME --> and <!-- end of table -->.
"""

import json
import pathlib
import re
import statistics
import sys
import textwrap

# Not resolved: in a test, the files beside this one are links.
ROOT = pathlib.Path(__file__).absolute().parent.parent
READMES = [
    "README.md",
    "benchmarks/README.md",
    "lessons/00_introduction/README.md",
    "lessons/02_running_an_llm/README.md",
    "lessons/03_cuda_kernels/README.md",
    "lessons/04_kv_cache/README.md",
    "lessons/05_batching/README.md",
]


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


# number, folder if it is there, title, what it adds
LESSONS = [
    ("00", "00_introduction", "introduction", "a probe of the machine, the roofline, predictions"),
    ("01", "01_llm_basics", "LLM basics", "the tokenizer and the parts of a transformer, one by one"),
    ("02", "02_running_an_llm", "running an LLM", "loading a model, the forward pass, the loop"),
    ("03", "03_cuda_kernels", "CUDA kernels", "kernels from naive to the limit; CPU and GPU backends"),
    ("04", "04_kv_cache", "KV cache", "pages, page tables, sharing, copy on write"),
    ("05", "05_batching", "batching", "many requests at once, scheduled"),
    ("06", "", "quantization", "fewer bits for each weight"),
    ("07", "", "parallelism", "several GPUs"),
    ("08", "", "serving", "requests over HTTP"),
    ("09", "", "profiling", "where the time goes"),
]


def ceiling(report):
    """Tokens a second that the machine's memory allows, and what the last run reached of it."""
    run = report["runs"][-1]
    return report["machine"]["read_gb_s"] * 1e9 / run["bytes_per_token"], run["roofline_fraction"]


def lessons():
    running, kernels = result("02_running_an_llm"), result("03_cuda_kernels")
    english = result("tokenizer")["texts"]["english"]
    limit, reached = ceiling(running)
    moved = kernels["moved"]
    cached = result("04_kv_cache")["moved"]
    batched = result("05_batching")["moved"]
    first, top = (ladder_row("gemm", "4096 x 4096 x 4096", level) for level in (1, -1))
    numbers = {
        "00": f"predicts at most {limit:.0f} tokens/s for lesson 02, which reaches "
              f"{100 * reached:.0f}% of it",
        "01": f"English to tokens: {english['mb_per_s']['aios']:.0f} MB/s, "
              f"{english['times_tiktoken']:.1f} times tiktoken",
        "02": f"tokens from one prompt: {running['moved']['before']:.0f} to {running['moved']['after']:.0f}, "
              f"at {running['runs'][-1]['decode_tok_s']:.1f} a second",
        "03": f"{moved['metric']}: {moved['before']:.0f} to {moved['after']:.0f} on two CPU cores; "
              f"gemm: {first['rate'] * 1e-12:.1f} to {top['rate'] * 1e-12:.0f} TFLOP/s on one "
              f"{result('ladder_gemm')['machine']['gpu']}",
        "04": f"{cached['metric']}: {cached['before']:.1f} to {cached['after']:.1f} on two CPU cores",
        "05": f"{batched['metric']}: {batched['before']:.0f} to {batched['after']:.0f} on two CPU cores",
    }
    rows = [[number, f"[**{title}**](lessons/{folder}/README.md)" if folder else title, adds,
             numbers.get(number, "")] for number, folder, title, adds in LESSONS]
    return table(["", "lesson", "what it adds", "the number that it moved"], rows)


def lesson_00_probe():
    runs = {name: row[0] for name, row in benchmarks("bench_lesson_00").items()}
    rate = {re.sub("/.*", "", name): row.get("bytes_per_second", row.get("flop_per_second")) / 1e9
            for name, row in runs.items()}
    gpu = result("bench_lesson_00_gpu")["best"]
    rows = [
        ["memory, read by all cores", f"{rate['ProbeRead']:.1f} GB/s",
         f"loops like STREAM's: copy {rate['StreamCopy']:.1f}, triad {rate['StreamTriad']:.1f}, "
         f"a sum {rate['StreamSum']:.1f}; memcpy {rate['Memcpy']:.1f} GB/s"],
        ["f32 products, all cores", f"{rate['ProbeGemm']:.0f} GFLOP/s",
         f"Eigen {rate['EigenGemm']:.0f}; in registers alone {rate['RegisterPeak']:.0f} GFLOP/s"],
    ]
    for key, name, unit, what in (("read_bytes_s", "read", "TB/s", "sum, amax"),
                                  ("copy_bytes_s", "copied", "TB/s", "copy_"),
                                  ("bf16_flop_s", "bf16 products", "TFLOP/s", "matmul")):
        rows.append([f"GPU, {name}", f"{gpu['probe'][key] / 1e12:.4g} {unit}",
                     f"PyTorch's {what}: {gpu['torch'][key] / 1e12:.4g} {unit}"])
    return (table(["what", "the probe", "beside it, in the same run"], rows) + "\n\n" +
            measured_on(result("bench_lesson_00")) + " " + on_gpu(result("bench_lesson_00_gpu")))


def lesson_00_prediction():
    """Lesson 02's run: counted here from the config in its report, and as it reports it."""
    report = result("02_running_an_llm")
    run, m = report["runs"][-1], report["model"]
    q, kv = m["n_heads"] * m["head_dim"], m["n_kv_heads"] * m["head_dim"]
    layer = m["d_model"] * (2 * q + 2 * kv + 3 * m["d_ff"] + 2)
    params = m["vocab_size"] * m["d_model"] + m["n_layers"] * layer + m["d_model"]
    read = report["machine"]["read_gb_s"]
    rows = [
        ["parameters", f"{params:,}", f"{m['parameters']:,}"],
        ["bytes of weights a token", f"{4 * params:,}", f"{run['bytes_per_token']:,}"],
        [f"tokens/s, if reading at {read:.1f} GB/s were all", f"at most {read * 1e9 / (4 * params):.1f}",
         f"{run['decode_tok_s']:.1f}"],
    ]
    return table(["lesson 02's run", "predicted", "reported"], rows) + "\n\n" + measured_on(report)


def lesson_02():
    report = result("02_running_an_llm")
    run = report["runs"][-1]
    n_tokens = len(run["outputs"][0]["tokens"])
    rows = [
        ["tokens of an answer", "1", str(n_tokens)],
        ["time to first token", f"{report['runs'][0]['ttft_ms']:.0f} ms", f"{run['ttft_ms']:.0f} ms"],
        ["time per token after it", "", f"{run['tpot_ms']:.0f} ms"],
        ["tokens per second", "", f"{run['decode_tok_s']:.1f}"],
        ["limit: measured read bandwidth / f32 weights", "", f"{ceiling(report)[0]:.1f}"],
        ["fraction of the limit", "", f"{100 * ceiling(report)[1]:.0f}%"],
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


def on_gpu(*results):
    commits = sorted({r["commit"] for r in results})
    return f"Measured on one {results[0]['machine']['gpu']}, at commit {', '.join(commits)}."


def ladder(name, shapes, cell):
    """A line for each level and one for the library, a column for each shape: cell(row)."""
    measured = result(f"ladder_{name}")
    by_place = {(r["level"], r["shape"]): r for r in measured["rows"]}
    titles = {r["level"]: f"{r['level']} {r['name']}" if r["level"] else r["name"]
              for r in measured["rows"]}
    rows = [[titles[level]] + [cell(by_place[level, shape]) if (level, shape) in by_place else ""
                               for shape in shapes.values()]
            for level in sorted(titles, key=lambda level: level or 99)]
    return table(["level", *shapes], rows) + "\n\n" + on_gpu(measured)


def ladder_row(name, shape, level):
    """The row of a level, counted from 1; 0: the library; -1: the top level."""
    rows = [r for r in result(f"ladder_{name}")["rows"] if r["shape"] == shape]
    top = max(r["level"] for r in rows)
    return next(r for r in rows if r["level"] == (top if level == -1 else level))


def percent(x):
    return f"{100 * x:.0f}%" if x >= 0.0095 else f"{100 * x:.1f}%"


def of_limit(row):
    return percent(row["rate"] / row["limit"])


def tflop_s(row):
    rate = row["rate"] * 1e-12
    text = f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}"
    return f"{text} TFLOP/s" + (f" ({percent(row['of_library'])})" if row["of_library"] else "")


def ladder_gemm():
    return ladder("gemm", {f"{s}, (of cuBLASLt)": s for s in
                           ("4096 x 4096 x 4096", "8192 x 8192 x 8192", "2048 x 28672 x 4096")}, tflop_s)


def sentences(text):
    return textwrap.fill(text, width=100)


def gemm_goal():
    first, top = (ladder_row("gemm", "4096 x 4096 x 4096", level) for level in (1, -1))
    return sentences(
        f"You will have seen a matrix product go from {first['rate'] * 1e-12:.1f} to "
        f"{top['rate'] * 1e-12:.0f} TFLOP/s in {top['level']} steps, one idea each. Without a GPU "
        "you see the same in five steps on your CPU.")


def gemm_text():
    limits = result("ladder_gemm")
    tops = [r["of_library"] for r in limits["rows"] if r["level"] == 8]
    return sentences(
        f"The top has {percent(min(tops))} to {percent(max(tops))} of cuBLASLt at these sizes. As "
        f"limits of this run the harness measured {limits['read_bytes_s'] * 1e-12:.2f} TB/s and "
        f"{limits['gemm_flop_s'] * 1e-12:.0f} TFLOP/s: less than the figures of *Predict*, which are "
        "the highest that we have seen on an H200.")


def gemv_text():
    third, fourth, ours, library = (ladder_row("gemv", "28672 x 4096", level)
                                    for level in (3, 4, -1, 0))
    small = ladder_row("gemv", "2048 x 2048", -1)
    return sentences(
        f"Two different diseases. The large matrix ({ours['bytes'] * 1e-6:.0f} MB, "
        f"{ours['seconds'] * 1e6:.0f} us) needs bytes on the way, and has them from level 3 on "
        f"({of_limit(third)} of the limit; level 4 {of_limit(fourth)}); the engine's has "
        f"{percent(ours['rate'] / library['rate'])} of cuBLASLt's rate. The small one "
        f"({small['bytes'] * 1e-6:.1f} MB) would take {small['bytes'] / small['limit'] * 1e6:.1f} "
        "us, which is about what lies between the last load of one kernel and the first of the next; "
        "only starting early (level 5) helps, and "
        f"{percent(1 - small['rate'] / small['limit'])} of the limit is still lost.")


def attention_text():
    measured = result("bench_attention")
    pages = {r["page_size"]: r["TFLOP/s"] for r in measured["prefill"]
             if (r["n_seqs"], r["n_rows"], r["kv_length"], r["n_kv_heads"], r["head_dim"])
             == (1, 8192, 8192, 8, 128)}
    decode = {(r["n_seqs"], r["kv_length"]): percent(r["TB/s"] / measured["read_tb_s"])
              for r in measured["decode"] if r["head_dim"] == 128}
    return sentences(
        "Keys in pages of 16 are 8 copies a tile where one would do: at 8,192 tokens "
        f"{pages[16]:.0f} TFLOP/s, against {pages[64]:.0f} in pages of 64. And decoding is another "
        "kernel altogether: one query has no tile, so that the keys are split among blocks. 64 texts "
        f"of 8,192 tokens read {decode[64, 8192]} of the read stream, one text of 8,192 reads "
        f"{decode[1, 8192]}, and one of 1,024 only {decode[1, 1024]}, for lack of work.")


def ladder_gemv():
    return ladder("gemv", {f"{s}, of the read stream": s for s in
                           ("28672 x 4096", "4096 x 4096", "2048 x 2048")}, of_limit)


def ladder_rms_norm():
    def cell(row):
        return of_limit(row) if row["limit"] else f"{row['seconds'] * 1e6:.1f} us"
    return ladder("rms_norm", {"16384 x 4096, of the copy rate": "16384 x 4096",
                               "1 x 4096": "1 x 4096"}, cell)


def ladder_softmax():
    return ladder("softmax", {f"{s}, of the copy rate": s for s in
                              ("65536 x 1024", "16384 x 4096", "2048 x 32768")}, of_limit)


def ladder_attention():
    return ladder("attention", {f"{n} tokens": f"{n} tokens, 32/8 heads" for n in (2048, 8192)},
                  tflop_s)


def attention_peers():
    ours, peers = result("bench_attention"), result("attention_peers")
    rows = []
    for peer in peers["rows"]:
        shape = (peer["n_seqs"], peer["n_rows"], peer["n_heads"], peer["n_kv_heads"], peer["head_dim"])
        mine = [r["TFLOP/s"] for r in ours["prefill"]
                if (r["n_seqs"], r["n_rows"], r["n_heads"], r["n_kv_heads"], r["head_dim"]) == shape
                and r["kv_length"] == r["n_rows"] and r["page_size"] == 64]
        if not mine:
            continue
        rows.append(["{} x {:,} tokens, {}/{} heads of {}".format(*shape), f"{mine[0]:.0f}",
                     f"{peer['cudnn_tflops']:.0f}", f"{peer['flash_attention_2_tflops']:.0f}",
                     f"{mine[0] / peer['cudnn_tflops']:.2f}x, "
                     f"{mine[0] / peer['flash_attention_2_tflops']:.2f}x"])
    return (table(["TFLOP/s", "the engine's", "cuDNN", "FlashAttention-2", "ratios"], rows) + "\n\n" +
            on_gpu(ours, peers))


def lesson_03():
    report = result("03_cuda_kernels")
    before, after = report["runs"]
    peer = result("llama_cpp_peer")
    rows = [
        ["time to first token", f"{before['ttft_ms']:.0f} ms", f"{after['ttft_ms']:.0f} ms"],
        ["prompt tokens a second", f"{before['prefill_tok_s']:.0f}", f"{after['prefill_tok_s']:.0f}"],
        ["time per token after it, the past computed anew", f"{before['tpot_ms']:.0f} ms",
         f"{after['tpot_ms']:.0f} ms"],
        ["bytes of weights a token", f"{before['bytes_per_token'] / 1e6:.0f} MB",
         f"{after['bytes_per_token'] / 1e6:.0f} MB"],
    ]
    return (table(["on two cores", "before: reference", "after: the CPU backend"], rows) + "\n\n" +
            measured_on(report) + f" llama.cpp, {peer['prompt_tokens']} prompt tokens, same model and "
            f"cores: {peer['prefill_tok_s']:.0f} tokens a second.")


def spread(values):
    """The median, with the smallest and the largest if there was more than one."""
    digits = 1 if values["max"] < 100 else 0
    texts = [f"{values[key]:,.{digits}f}" for key in ("median", "min", "max")]
    return texts[0] if texts[1] == texts[2] else "{} ({} to {})".format(*texts)


def compared(workload):
    """The ladder of the lessons on one workload: a line for each, then the peers that ran."""
    rows = []
    for entry in workload["entries"]:
        if not entry.get("runs"):
            continue
        tokens, fraction = entry["tokens"], entry["roofline_fraction"]
        same = "" if tokens is None else f"{tokens['same']} of {tokens['of']}"
        if tokens and tokens["exact"]:
            same = "yes" if tokens["ok"] else "NO"
        factor, margin = entry.get("times_lesson_before"), entry["min_margin"]
        in_all = entry.get("output_tok_s")
        rows.append([
            entry["name"], f"{entry['backend']} {entry['dtype']}", same,
            f"{margin:.2g}" if margin is not None else "",
            spread(entry["ttft_ms"]), f"{entry['tpot_ms']['median']:,.2f}",
            f"{entry['prefill_tok_s']['median']:,.0f}", spread(entry["decode_tok_s"]),
            f"{in_all['median']:,.0f}" if in_all else "",
            f"{factor:.2f}x" if factor else "", percent(fraction["median"]) if fraction else "",
            f"{entry['peak_bytes']['median'] / 1e6:,.0f}"])
    lengths = workload["prompt_tokens"]
    end = " random token ids" if workload["random_ids"] else " tokens"
    prompts = (f"a prompt of {lengths[0]}" if len(lengths) == 1 else
               f"{len(lengths)} prompts of {min(lengths)} to {max(lengths)}")
    rounds = workload["rounds"]
    return table(["", "runs in", "same tokens", "smallest margin", "first token, ms", "a token, ms",
                  "prefill, tokens/s", "tokens/s of an answer", "of all answers",
                  "x the lesson before", "of the limit", "memory, MB"], rows) + "\n\n" + sentences(
        f"{workload['name']}: {prompts}{end}, at most {workload['max_new_tokens']} new ones; " +
        (f"medians of {rounds} rounds (smallest to largest)" if rounds > 1 else "a single round") +
        ", each run a process of its own.")


def ladder_of_lessons():
    """On the CPU, then what was measured on a GPU, if it was."""
    parts = []
    for name in ("ladder", "ladder_gpu"):
        if (ROOT / "benchmarks" / "results" / f"{name}.json").exists():
            measured = result(name)
            parts += [compared(workload) for workload in measured["workloads"]]
            machine, load = measured["machine"], measured["load_average"][0]
            said = on_gpu(measured) if "gpu" in machine else measured_on(measured)
            if load > 0.5 * machine["cores"]:
                said += (f" Something else ran on it, too (load average {load:.1f}): these figures are "
                         "for want of better ones.")
            parts.append(sentences(said))
    return "\n\n".join(parts)


def lesson_04():
    report = result("04_kv_cache")
    before, after = report["runs"]
    figures = report["figures"]
    first, *others = (figures[f"prefix_{i}_ttft_ms"] for i in (1, 2, 3, 4))

    def at_the_end(run):
        times = [t for output in run["outputs"] for t in output["token_ms"][-9:]]
        return f"{statistics.median(times):.1f} ms"

    speed = [
        ["tokens a second after the first", f"{before['decode_tok_s']:.1f}", f"{after['decode_tok_s']:.1f}"],
        ["time per token, the last nine", at_the_end(before), at_the_end(after)],
        ["time to first token", f"{before['ttft_ms']:.0f} ms", f"{after['ttft_ms']:.0f} ms"],
        ["fraction of the memory's limit", percent(before["roofline_fraction"]),
         percent(after["roofline_fraction"])],
    ]
    layouts = [
        [name, *(f"{figures[f'{key}_{what}_bytes'] / 1e6:.1f} MB" for what in ("reserved", "used")),
         percent(1 - figures[f"{key}_used_bytes"] / figures[f"{key}_reserved_bytes"]),
         f"{figures[f'{key}_token_ms']:.1f} ms"]
        for name, key in (("contiguous, as long as the context", "contiguous"), ("in pages of 64", "paged"))]
    prefix = [
        ["first", "0", f"{first:.0f} ms"],
        ["second to fourth", f"{figures['prefix_known_tokens'] / 3:.0f}",
         f"{statistics.median(others):.0f} ms"],
    ]
    return "\n\n".join([
        table(["on two cores", "before: nothing kept", "after: keys and values kept"], speed),
        table(["the same sequence", "reserved", "used", "wasted", "time per token"], layouts),
        table([f"prompts of some {figures['prefix_tokens'] / 4:.0f} tokens that begin alike",
               "tokens known", "time to first token"], prefix),
        measured_on(report)])


def lesson_04_gpu():
    measured = result("04_kv_cache_gpu")
    rows = []
    for shape, report in measured["shapes"].items():
        before, after = report["runs"]
        rows.append([shape, f"{before['decode_tok_s']:.0f}", f"{after['decode_tok_s']:.0f}",
                     percent(after["roofline_fraction"]), f"{after['ttft_ms']:.1f} ms"])
    return table(["a prompt of 512, 128 new tokens, bf16", "before, tokens/s", "after, tokens/s",
                  "of the read stream", "first token"], rows) + "\n\n" + on_gpu(measured)


def lesson_05():
    report = result("05_batching")
    figures = report["figures"]
    rows = []
    for name in ("one at a time", "static batches", "continuous", "continuous, chunked"):
        key = name.replace(",", "").replace(" ", "_")
        rows.append([
            name, f"{figures[f'{key}_tok_s']:.0f}",
            *(" / ".join(f"{figures[f'{key}_{what}_ms_p{p}']:,.0f}" for p in (50, 95, 99))
              for what in ("ttft", "gap")),
            f"{figures[f'{key}_rows']:.1f}", f"{figures[f'{key}_seqs']:.1f}",
            f"{figures[f'{key}_pages']:.0f}", f"{figures[f'{key}_preemptions']:.0f}"])
    return (table(["on two cores", "tokens/s, all answers", "first token, ms: p50 / p95 / p99",
                   "between tokens, ms: p50 / p95 / p99", "rows a step", "sequences a step", "pages",
                   "preemptions"], rows) + "\n\n" + measured_on(report))


def lesson_05_gpu():
    measured = result("bench_engine_gpu")
    rows = []
    for shape in ("llama-8b", "qwen3-0.6b"):
        for step in measured["decode"][shape]["decode"]:
            rows.append([shape, f"{step['sequences']}", f"{step['tokens_per_s']:,.0f}",
                         f"{step['step_ms']:.1f} ms", percent(step["limit_fraction"])])
    decode = table(["keys of 1,024 tokens each, bf16", "sequences", "tokens/s", "a step",
                    "of the read stream"], rows)
    rows = []
    for shape in ("llama-8b", "qwen3-0.6b"):
        ours = measured["workload"][shape]["workload"]["output_tokens_per_s"]
        peer = measured["transformers"][shape]
        theirs = peer["output_tok_s"]
        earlier = f" (at {peer['commit'][:7]})" if "commit" in peer else ""
        rows.append([shape, f"{ours:,.0f}", f"{theirs:,.0f}{earlier}", f"{ours / theirs:.0f}x"])
    serve = table(["256 requests, prompts and answers of 100 to 1,024 tokens", "tokens/s",
                   "transformers, in batches of 32", ""], rows)
    rows = []
    for name, of in list(measured["arrivals"].items())[1:]:
        last = of["workload"]["rounds"][-1]["gap_ms"]
        rows.append([name, f"{last['p50']:.1f} ms", f"{last['p99']:.1f} ms",
                     f"{last['p99'] / last['p50']:.1f}x"])
    gaps = table([f"llama-8b, 8 requests a second (at {of['commit'][:7]}): between tokens", "p50",
                  "p99", ""], rows)
    return "\n\n".join([decode, serve, gaps, on_gpu(measured)])



TABLES = {
    "attention_peers": attention_peers,
    "attention_text": attention_text,
    "gemm_goal": gemm_goal,
    "gemm_text": gemm_text,
    "gemv_text": gemv_text,
    "ground_floor": ground_floor,
    "ladder": ladder_of_lessons,
    "ladder_attention": ladder_attention,
    "ladder_gemm": ladder_gemm,
    "ladder_gemv": ladder_gemv,
    "ladder_rms_norm": ladder_rms_norm,
    "ladder_softmax": ladder_softmax,
    "lesson_00_prediction": lesson_00_prediction,
    "lesson_00_probe": lesson_00_probe,
    "lesson_02": lesson_02,
    "lesson_03": lesson_03,
    "lesson_04": lesson_04,
    "lesson_04_gpu": lesson_04_gpu,
    "lesson_05": lesson_05,
    "lesson_05_gpu": lesson_05_gpu,
    "lessons": lessons,
}


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
