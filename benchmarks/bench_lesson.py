#!/usr/bin/env python3
"""A lesson's before and after, several times, beside the machine's limit and llama.cpp.

    bazel run //benchmarks:bench_lesson_04 -- [--rounds N] [--json FILE] [...]

Each run is a process of its own, as in //lessons:compare, whose workload and flags these are. The
limit is what the memory's measured read rate allows: bytes a token must read / bytes a second.
"""

import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools" / "compare"))
import compare  # pylint: disable=wrong-import-position
import machine  # pylint: disable=wrong-import-position
import measure  # pylint: disable=wrong-import-position


def rows_of(entries):
    """What is kept of each run of the lesson, and of each peer."""
    lesson = entries[0]
    summaries = []
    for which in ("before", "after"):
        summaries.append(measure.summary(lesson, lesson, which) | {"name": which})
    summaries += [measure.summary(entry, lesson) for entry in entries[1:]]
    measure.fill_rooflines(summaries)
    return summaries


def limit(summed):
    """Tokens a second that the roofline allows."""
    fraction = measure.measured(summed, "roofline_fraction")
    if not fraction:
        return None
    return summed["decode_tok_s"]["median"] / fraction["median"]


def table(summaries):
    header = ["", "runs in", "first token, ms", "a token, ms", "prefill tok/s",
              "tokens/s (min..max)", "limit", "of it", "memory, MB"]
    rows = [[s["name"], f"{s['backend']} {s['dtype']}", measure.with_spread(s, "ttft_ms"),
             measure.median(s, "tpot_ms"), measure.median(s, "prefill_tok_s"),
             measure.with_spread(s, "decode_tok_s"), measure.figure(limit(s)), measure.percent(s),
             measure.median(s, "peak_bytes", 1e-6)] for s in summaries if "runs" in s]
    return measure.text_table(header, rows)


def bench(options, arguments):
    def say(sentence):
        print(f"bench: {sentence}", file=sys.stderr, flush=True)

    compare.check(options)
    found = compare.programs(options)
    if len(found) != 1:
        raise compare.BadFlag(f"one lesson is wanted here, not {len(found)}")
    (name, _), = found.items()
    out = compare.here(options.json) if options.json else None
    if out:
        compare.check_writable(out)
    gpu = machine.gpu()
    on_gpu = bool(gpu) and options.backend != "cpu" and name != compare.REFERENCE
    shape = options.random_weights[0] if options.random_weights else None
    workload = compare.Workload(options, shape)
    load = os.getloadavg()[0]
    entries, order = compare.measure_workload(workload, found, options, on_gpu, say)
    summaries = rows_of(entries)
    print(f"{name}: {workload.name}, at most {workload.new_tokens(name)} new tokens, medians of "
          f"{options.rounds} rounds\n\n{table(summaries)}")
    for summed in summaries[1:]:
        for problem in filter(None, [summed["failure"], *summed["checks_failed"]]):
            print(f"  {summed['name']}: {problem}")
    if out:
        out.write_text(json.dumps({
            "schema": 1, "lesson": name, "machine": {**machine.cpu(), **gpu},
            "commit": compare.commit_of(options),
            "command": compare.command_of(options, arguments,
                                          f"//benchmarks:bench_lesson_{name[:2]}"),
            "load_average": [round(load, 2), round(os.getloadavg()[0], 2)],
            "workload": workload.name, "max_new_tokens": workload.new_tokens(name),
            "rounds": options.rounds, "order": order, "rows": summaries}, indent=1) + "\n")
        print(out)
    lesson = entries[0]
    return 1 if lesson.failure or summaries[1]["checks_failed"] else 0


def main():
    parser = compare.parser_of(__doc__)
    compare.flags_for_measuring(parser)
    said = [a for a in sys.argv[1:] if not a.startswith(("--lesson=", "--default-model="))]
    return compare.run(lambda: bench(parser.parse_args(), said), "bench")


if __name__ == "__main__":
    sys.exit(main())
