"""What the peers' programs share: their flags and their report, which is the lessons'."""

import argparse
import json
import pathlib
import re
import sys


def parse_arguments(about, modes=()):
    """The flags with which compare.py calls a peer; `modes`: ways in which this one can run."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, help="a GGUF file")
    parser.add_argument("--shape", type=pathlib.Path,
                        help="JSON: the \"model\" of a lesson's report, for random weights")
    parser.add_argument("--prompts", type=pathlib.Path, required=True,
                        help='JSON: [{"ids": [...], "new_tokens": N}, ...]')
    parser.add_argument("--backend", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--threads", type=int, required=True)
    if modes:
        parser.add_argument("--mode", choices=modes, default=modes[0])
    options = parser.parse_args()
    if options.model is None and options.shape is None:
        parser.error("give --model or --shape")
    try:
        options.prompts = json.loads(options.prompts.read_text())
        options.shape = json.loads(options.shape.read_text()) if options.shape else None
    except (OSError, ValueError) as error:
        fail(error)
    return options


def fail(sentence):
    """Ends as a lesson does that cannot do what it was asked for."""
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)


def tied(shape):
    """Whether the output reads the token embedding: the report tells only how many parameters."""
    d = shape["d_model"]
    heads = shape["head_dim"] * (2 * shape["n_heads"] + 2 * shape["n_kv_heads"])
    layers = shape["n_layers"] * d * (heads + 3 * shape["d_ff"])
    return shape["parameters"] - layers < 1.5 * shape["vocab_size"] * d


def peak_bytes():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"^VmHWM:\s*(\d+) kB$", status, re.M)[1]) * 1024


def write_report(version, note, run, outputs, weights="the model's"):
    """Writes the report. `run`: backend, dtype, bytes_per_token. Each of `outputs`: prompt_ids,
    tokens, first_token_seconds, decode_seconds; figures over all prompts as in report.h."""
    firsts = [output.pop("first_token_seconds") for output in outputs]
    decodes = [output.pop("decode_seconds") for output in outputs]
    decoded = sum(len(output["tokens"]) - 1 for output in outputs)
    rate = decoded / sum(decodes) if decoded else 0
    report = {
        "schema": 1, "version": version, "note": note, "weights": weights,
        "runs": [{
            "name": "after", **run,
            "ttft_ms": sorted(firsts)[len(firsts) // 2] * 1e3,
            "tpot_ms": 1e3 / rate if rate else 0,
            "prefill_tok_s": sum(len(output["prompt_ids"]) for output in outputs) / sum(firsts),
            "decode_tok_s": rate,
            # One after the other.
            "output_tok_s": (decoded + len(outputs)) / (sum(firsts) + sum(decodes)),
            "gb_s": run["bytes_per_token"] * rate * 1e-9,
            "roofline_fraction": None,  # compare.py divides by what the lessons measured
            "peak_bytes": peak_bytes(),
            "outputs": outputs,
        }],
    }
    json.dump(report, sys.stdout)
