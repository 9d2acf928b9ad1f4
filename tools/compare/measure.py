"""Runs programs that write the lessons' report (common/engine/report.h), round after round, each
time in a fresh process, and sums up what they measured. Used by compare.py and by
benchmarks/bench_lesson.py.
"""

import json
import math
import os
import signal
import statistics
import subprocess
import tempfile

# What a run of the report says of its speed and its memory.
METRICS = ("ttft_ms", "tpot_ms", "prefill_tok_s", "decode_tok_s", "output_tok_s", "gb_s",
           "roofline_fraction", "peak_bytes")


class Failure(Exception):
    """Why a program gave no report, in words that follow its name."""


class Entry:
    """A program to measure: a lesson or a peer, and what its runs gave."""

    def __init__(self, name, command, kind="lesson", max_new_tokens=0):
        self.name = name
        self.command = command  # a function that gives it; may raise Failure
        self.kind = kind
        self.max_new_tokens = max_new_tokens
        self.reports = []
        self.failure = None

    def runs(self, which="after"):
        """That run of every round; lesson programs have a "before" too."""
        return [run for report in self.reports for run in report["runs"] if run["name"] == which]


def last_words(text):
    """The sentence with which a program ended, of all that it wrote to standard error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("error:", "internal error:"))]
    return (errors or lines or ["it said nothing"])[-1].removeprefix("error: ")[:300]


def run_program(command, timeout):
    """The report that the program writes to standard output. Raises Failure."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                       start_new_session=True)
        except OSError as error:
            raise Failure(f"could not be started: {error.strerror}") from None
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"did not end within {timeout:g} s (--timeout)") from None
        finally:  # after Ctrl-C as well
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        err.seek(0)
        words = last_words(err.read().decode(errors="replace"))
        status = process.returncode
        if status == 2:
            raise Failure(f"refused: {words}")
        if status < 0:
            raise Failure(f"was ended by {signal.Signals(-status).name}: {words}")
        out.seek(0)
        try:  # 1: a check failed, of which the report tells
            if status in (0, 1):
                return json.load(out)
        except (ValueError, RecursionError) as error:
            if status == 0:
                raise Failure(f"wrote no report but something else: {error}") from None
    raise Failure(f"ended with exit status {status}: {words}")


def is_number(x):
    return isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x)


def checked(report):
    """The report, if it has what is read of it here. Raises Failure."""
    def need(condition, what):
        if not condition:
            raise Failure(f"wrote a report that cannot be used: {what}")

    need(isinstance(report, dict) and report.get("schema") == 1, "no \"schema\": 1")
    runs = report.get("runs")
    need(isinstance(runs, list) and all(isinstance(run, dict) for run in runs), "no list of runs")
    need([run.get("name") for run in runs].count("after") == 1, "not one run \"after\"")
    for run in runs:
        for key in ("name", "backend", "dtype"):
            need(isinstance(run.get(key), str), f"a run without {key}")
        for key in (*METRICS, "bytes_per_token"):
            need(key in run and (run[key] is None or is_number(run[key])), f"{key} is no number")
        outputs = run.get("outputs")
        need(isinstance(outputs, list) and outputs, "a run without outputs")
        for output in outputs:
            for key in ("prompt_ids", "tokens"):
                ids = output.get(key) if isinstance(output, dict) else None
                need(isinstance(ids, list) and ids and all(type(i) is int for i in ids),
                     f"{key} are no token ids")
    checks = report.get("checks", [])
    need(isinstance(checks, list) and all(isinstance(c, dict) and "ok" in c for c in checks),
         "no list of checks")
    return report


def measure(entries, rounds, timeout, say):
    """Runs every entry once a round, in the order given, then backwards, and so on.

    What fails is said, is not run again, and keeps nothing else from running. Returns the names, in
    the order in which they ran, of each round.
    """
    orders = []
    for i in range(rounds):
        orders.append([])
        for entry in entries if i % 2 == 0 else entries[::-1]:
            if entry.failure:
                continue
            say(f"round {i + 1} of {rounds}: {entry.name}")
            orders[-1].append(entry.name)
            try:
                entry.reports.append(checked(run_program(entry.command(), timeout)))
            except Failure as failure:
                entry.failure = str(failure)
                say(f"round {i + 1} of {rounds}: {entry.name} {failure}")
    return orders


def tokens_of(run):
    return [output["tokens"] for output in run["outputs"]]


def compare_tokens(entry, baseline):
    """Are the answers of all rounds the baseline's? None if there is nothing to compare.

    {"same": tokens before the first that differs, over all prompts and rounds, "of", "exact":
    whether they must be the same, "ok", "detail"}. They must be where both computed in f32; in
    fewer bits near ties fall otherwise, and after one such token the answers go different ways.
    """
    if not entry.runs() or baseline is None or entry.reports[0].get("weights") == "random":
        return None
    truth = baseline.runs()[0]
    limit = min(entry.max_new_tokens, baseline.max_new_tokens) or None
    same = of = 0
    detail = ""
    for i, run in enumerate(entry.runs()):
        if [o["prompt_ids"] for o in run["outputs"]] != [o["prompt_ids"] for o in truth["outputs"]]:
            return {"same": 0, "of": 0, "exact": True, "ok": entry.kind == "peer",
                    "detail": f"other prompt ids than {baseline.name}'s"}
        for prompt, (ours, theirs) in enumerate(zip(tokens_of(run), tokens_of(truth))):
            ours, theirs = ours[:limit], theirs[:limit]
            pairs = list(zip(ours, theirs))
            n = next((j for j, (a, b) in enumerate(pairs) if a != b), len(pairs))
            same += n
            of += max(len(ours), len(theirs))
            if not detail and ours != theirs:
                a, b = (str(x[n]) if n < len(x) else "the end" for x in (ours, theirs))
                detail = (f"round {i + 1}, prompt {prompt + 1}, token {n + 1}: {a} where "
                          f"{baseline.name} has {b}")
    exact = (entry.kind == "lesson" and truth["dtype"] == "f32"
             and all(run["dtype"] == "f32" for run in entry.runs()))
    return {"same": same, "of": of, "exact": exact, "ok": same == of or not exact, "detail": detail}


def min_margin(runs):
    """The smallest lead of a chosen token's logit over the next best; None if no run says."""
    margins = [output.get("min_margin") for run in runs for output in run["outputs"]]
    return min((m for m in margins if is_number(m)), default=None)


def spread(values):
    """{"median", "min", "max"}, or None if a value is missing."""
    if not values or None in values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summary(entry, baseline=None, which="after"):
    """What is kept of an entry: the medians, and the figures of every run."""
    runs = entry.runs(which)
    failed = [check for report in entry.reports for check in report.get("checks", [])
              if not check["ok"]]
    result = {"name": entry.name, "kind": entry.kind, "failure": entry.failure,
              "checks_failed": sorted({f"{c.get('name')} ({c.get('detail')})" for c in failed})}
    if runs:
        first, report = runs[0], entry.reports[0]
        result |= {
            "backend": first["backend"], "dtype": first["dtype"],
            "bytes_per_token": first["bytes_per_token"],
            **{key: report[key] for key in ("version", "note") if key in report},
            "tokens": compare_tokens(entry, baseline) if which == "after" else None,
            "min_margin": min_margin(runs),
            **{metric: spread([run[metric] for run in runs]) for metric in METRICS},
            "runs": [{metric: run[metric] for metric in METRICS} for run in runs],
            "outputs": [{key: output.get(key) for key in ("tokens", "text", "finish_reason")}
                        for output in first["outputs"]],
        }
    return result


def fill_rooflines(summaries):
    """Gives the peers, which measure no bandwidth, the fraction of what the lessons measured.

    Of lessons on the same device: a peer on the GPU is held to the GPU's memory.
    """
    measured = {}
    for s in summaries:
        if s.get("roofline_fraction") and s["roofline_fraction"]["median"] and s["gb_s"]:
            on_gpu = s["backend"] == "cuda"
            measured.setdefault(on_gpu, []).append(
                s["gb_s"]["median"] / s["roofline_fraction"]["median"])
    for s in summaries:
        bandwidths = measured.get(s.get("backend") == "cuda")
        if s["kind"] == "peer" and bandwidths and s.get("decode_tok_s") and s["bytes_per_token"]:
            scale = s["bytes_per_token"] * 1e-9 / statistics.median(bandwidths)
            s["roofline_fraction"] = {key: x * scale for key, x in s["decode_tok_s"].items()}


# ---- For people ----------------------------------------------------------------------------------

def text_table(header, rows):
    """Columns in line: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    def line(row):
        return "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w)
                         for i, (cell, w) in enumerate(zip(row, widths))).rstrip()
    return "\n".join(map(line, [header, *rows]))


def figure(x, digits=3):
    """A number as people read it: no digits that mean nothing, no exponents."""
    if x is None:
        return "-"
    if x == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(x))))
    return f"{x:,.{min(decimals, 4)}f}"


def measured(summed, metric):
    """The figures of a metric, or None: a run that wrote one token has no time per token."""
    values = summed.get(metric)
    return values if values and values["max"] > 0 else None


def median(summed, metric, scale=1):
    values = measured(summed, metric)
    return figure(values["median"] * scale) if values else "-"


def with_spread(summed, metric, scale=1):
    values = measured(summed, metric)
    if not values:
        return "-"
    median_, low, high = (figure(values[key] * scale) for key in ("median", "min", "max"))
    return f"{median_} ({low}..{high})"


def percent(summed):
    fraction = measured(summed, "roofline_fraction")
    if not fraction:
        return "-"
    return f"{100 * fraction['median']:.{0 if fraction['median'] >= 0.0995 else 1}f}%"
