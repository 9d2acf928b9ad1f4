#!/usr/bin/env python3
"""Runs all lessons, and the programs that others use, on the same workload, and prints the ladder.

    bazel run //lessons:compare -- [--rounds N] [--json FILE] [--html FILE] [...]

Each run is a process of its own, the order turns round from one round to the next, and what is
shown is the median, with the smallest and the largest: a lesson that became slower shows. In f32
every lesson must give lesson 02's tokens, or this exits with 1; in fewer bits, it says how many
agree.

The workload is the default model with the prompts of tools/compare/prompts.json. On a machine with
an NVIDIA GPU, llama-1b and llama-8b too, with random weights and 512 prompt tokens drawn with a
fixed seed, 128 new ones, past any end; the lessons without a cache, which compute the past again
for each token, write only 4 there. Peers run where they are installed (benchmarks/README.md).
"""

import argparse
import json
import os
import pathlib
import random
import shlex
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import machine  # pylint: disable=wrong-import-position
import measure  # pylint: disable=wrong-import-position
import page  # pylint: disable=wrong-import-position
import peers  # pylint: disable=wrong-import-position

# Lessons that compute all tokens again for each new one.
WITHOUT_CACHE = ("02_running_an_llm", "03_cuda_kernels")
FEW_TOKENS = 4
# It has one lane only, f32 on the CPU, and is what the others' tokens are held to.
REFERENCE = "02_running_an_llm"
N_IDS = 32000  # no shape's vocabulary is smaller


class BadFlag(Exception):
    """What is wrong with the command line."""


def at_least(low):
    def parse(text):
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"must be at least {low}, not {text}")
        return value
    parse.__name__ = "whole number"
    return parse


def flags_for_measuring(parser):
    """The flags that bench_lesson.py has too."""
    parser.add_argument("--rounds", type=at_least(1), default=5, help="default: 5")
    parser.add_argument("--timeout", type=at_least(1), default=900,
                        help="seconds that a run may take; default: 900")
    parser.add_argument("--model", help="a GGUF file or a folder; default: SmolLM2-135M-Instruct")
    parser.add_argument("--random-weights", metavar="SHAPE", action="append",
                        help="instead, random weights of that shape; may be given several times")
    parser.add_argument("--backend", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--dtype", choices=["auto", "f32", "bf16"], default="auto")
    parser.add_argument("--threads", type=at_least(1))
    parser.add_argument("--prompts", help="JSON: a list of texts or lists of token ids")
    parser.add_argument("--prompt-tokens", type=at_least(1), metavar="N",
                        help="instead, one prompt of N random token ids; 512 with random weights")
    parser.add_argument("--max-new-tokens", type=at_least(1), metavar="N",
                        help="default: 32, or 128 with random token ids")
    parser.add_argument("--ignore-eos", action="store_true", help="go on past the end of an answer")
    parser.add_argument("--no-peers", action="store_true", help="lessons only")
    parser.add_argument("--peer-python", action="append", default=[], metavar="PATH",
                        help="a Python that has a peer; may be given several times")
    parser.add_argument("--programs", metavar="FOLDER", help="the lessons' programs, built before")
    parser.add_argument("--json", metavar="FILE", help="where the result goes")
    # From the BUILD file.
    parser.add_argument("--default-model", help=argparse.SUPPRESS)
    parser.add_argument("--lesson", action="append", default=[], help=argparse.SUPPRESS)


def parser_of(about):
    class OneSentence(argparse.ArgumentParser):
        def error(self, message):
            raise BadFlag(f"{message} (see --help)")
    return OneSentence(description=about, formatter_class=argparse.RawDescriptionHelpFormatter,
                       allow_abbrev=False)


def parse(arguments):
    parser = parser_of(__doc__)
    flags_for_measuring(parser)
    parser.add_argument("--lessons", help="only these, by number: 02,04")
    parser.add_argument("--html", metavar="FILE", help="where the page with plots goes")
    parser.add_argument("--keep", action="store_true",
                        help="keep what the JSON file holds of other workloads of the same commit")
    parser.add_argument("--read", metavar="FILE",
                        help="show a result that was kept; measure nothing")
    options = parser.parse_args(arguments)
    defaults = pathlib.Path(tempfile.gettempdir())
    options.json = here(options.json or defaults / "aios_ladder.json")
    options.html = here(options.html or defaults / "aios_ladder.html")
    return options


def here(path):
    """`bazel run` changes the folder: a path is from where the person stands."""
    return pathlib.Path(os.environ.get("BUILD_WORKING_DIRECTORY", "."), path).absolute()


def check(options):
    """What can be found wrong before anything runs."""
    if options.model and options.random_weights:
        raise BadFlag("--model and --random-weights exclude each other")
    if options.prompts and (options.prompt_tokens or options.random_weights):
        raise BadFlag("--prompts excludes --prompt-tokens and --random-weights")
    if options.model and not here(options.model).exists():
        raise BadFlag(f"--model {options.model}: there is no such file")
    if options.prompts:
        try:
            prompts = json.loads(here(options.prompts).read_text())
        except (OSError, ValueError) as error:
            raise BadFlag(f"--prompts {options.prompts}: {error}") from None
        if not isinstance(prompts, list) or not prompts:
            raise BadFlag(f"--prompts {options.prompts}: must be a list of prompts")
    if options.programs and not here(options.programs).is_dir():
        raise BadFlag(f"--programs {options.programs}: there is no such folder")
    for python in options.peer_python:
        if not os.access(here(python), os.X_OK):
            raise BadFlag(f"--peer-python {python}: there is no such program")


def check_writable(*paths):
    for path in paths:
        try:
            with path.open("a"):
                pass
        except OSError as error:
            raise BadFlag(f"{path}: cannot be written: {error.strerror}") from None


def programs(options):
    """{lesson: program}, in the course's order."""
    if options.programs:
        found = {path.name: path for path in sorted(here(options.programs).iterdir())
                 if path.name[:2].isdigit() and os.access(path, os.X_OK)}
    else:
        found = {name: pathlib.Path(path).resolve() for name, path in
                 (lesson.split("=", 1) for lesson in options.lesson)}
    if getattr(options, "lessons", None):
        wanted = options.lessons.split(",")
        unknown = [w for w in wanted if w not in [name[:2] for name in found]]
        if unknown:
            raise BadFlag(f"--lessons {options.lessons}: there is no lesson {unknown[0]}; "
                          f"there are {', '.join(name[:2] for name in found) or 'none'}")
        found = {name: path for name, path in found.items() if name[:2] in wanted}
    if not found:
        raise BadFlag("no lesson's program: start this by `bazel run //lessons:compare`, or say "
                      "where they are with --programs FOLDER")
    return found


class Workload:
    """What all programs are asked to do."""

    def __init__(self, options, shape=None):
        self.shape = shape
        self.model = None
        if shape is None:
            model = options.model or options.default_model
            if model is None:
                raise BadFlag("say which model with --model PATH or --random-weights SHAPE")
            self.model = here(model) if options.model else pathlib.Path(model).absolute()
        random_ids = options.prompt_tokens or (512 if shape else None)
        self.prompts = here(options.prompts) if options.prompts else HERE / "prompts.json"
        self.ids = None
        if random_ids:
            draw = random.Random(1)
            self.ids = [[draw.randrange(N_IDS) for _ in range(random_ids)]]
        self.max_new_tokens = options.max_new_tokens or (128 if random_ids else 32)
        self.ignore_eos = options.ignore_eos or bool(random_ids)
        self.backend, self.dtype, self.threads = options.backend, options.dtype, options.threads
        self.name = shape or (self.model.stem if self.model.is_file() else self.model.name)

    def new_tokens(self, lesson):
        return min(FEW_TOKENS, self.max_new_tokens) if (
            self.ids and lesson in WITHOUT_CACHE) else self.max_new_tokens

    def command(self, lesson, program, folder):
        prompts = self.prompts
        if self.ids:
            prompts = pathlib.Path(folder) / "prompts.json"
            prompts.write_text(json.dumps(self.ids))
        flags = [f"--random-weights={self.shape}" if self.shape else f"--model={self.model}",
                 f"--prompts={prompts}", f"--max-new-tokens={self.new_tokens(lesson)}", "--json=-"]
        if self.ignore_eos:
            flags.append("--ignore-eos")
        if self.threads:
            flags.append(f"--threads={self.threads}")
        if lesson != REFERENCE:
            flags += [f"--{name}={value}" for name, value in
                      (("backend", self.backend), ("dtype", self.dtype)) if value != "auto"]
        return [str(program), *flags]


def workloads(options, gpu):
    if options.random_weights:
        return [Workload(options, shape) for shape in options.random_weights]
    found = [Workload(options)]
    if gpu and options.backend != "cpu" and not options.model and not options.prompts:
        found += [Workload(options, shape) for shape in ("llama-1b", "llama-8b")]
    return found


def baseline_of(entries):
    """The lesson that the others' tokens are held to: 02, or else the first that ran in f32."""
    ran = [entry for entry in entries if entry.kind == "lesson" and entry.reports]
    return min(ran, default=None, key=lambda entry: (
        entry.name != REFERENCE, entry.runs()[0]["dtype"] != "f32", ran.index(entry)))


def measure_workload(workload, found, options, on_gpu, say):
    """(entries, order of each round): everything that there is to run, run."""
    with tempfile.TemporaryDirectory() as folder:
        entries = [measure.Entry(
            name, lambda n=name, p=path: workload.command(n, p, folder),
            max_new_tokens=workload.new_tokens(name)) for name, path in found.items()]
        if not options.no_peers:
            pythons = [here(p) for p in options.peer_python]
            entries += peers.entries(pythons, workload.model, workload, folder,
                                     lambda: baseline_of(entries), on_gpu)
        order = measure.measure(entries, options.rounds, options.timeout, say)
    return entries, order


def run_workload(workload, found, options, gpu, say):
    """One workload's part of the result."""
    say(f"{workload.name}: {options.rounds} rounds")
    on_gpu = bool(gpu) and options.backend != "cpu"
    entries, order = measure_workload(workload, found, options, on_gpu, say)
    baseline = baseline_of(entries)
    summaries = [measure.summary(entry, baseline) for entry in entries]
    measure.fill_rooflines(summaries)
    prompts = baseline.runs()[0]["outputs"] if baseline else []
    before = None
    for summed in summaries:
        rate = summed.get("output_tok_s")
        if summed["kind"] == "lesson" and rate and rate["median"]:
            summed["times_lesson_before"] = rate["median"] / before if before else None
            before = rate["median"]
    return {
        "name": workload.name,
        "model": baseline.reports[0].get("model") if baseline else None,
        "prompt_tokens": [len(output["prompt_ids"]) for output in prompts],
        "random_ids": bool(workload.ids), "max_new_tokens": workload.max_new_tokens,
        "ignore_eos": workload.ignore_eos, "rounds": options.rounds, "order": order,
        "baseline": baseline.name if baseline else None, "entries": summaries,
    }


def ladder(workload):
    """Header and rows of the table."""
    header = ["", "runs in", "same tokens", "margin", "first token, ms", "a token, ms",
              "prefill tok/s", "tokens/s (min..max)", "in all", "x before", "of roofline",
              "memory, MB"]
    rows = []
    for s in workload["entries"]:
        if "runs" not in s:
            rows.append([s["name"], "-"] + [""] * (len(header) - 2))
            continue
        tokens = s["tokens"]
        same = "-" if tokens is None else f"{tokens['same']} of {tokens['of']}"
        if tokens and tokens["exact"]:
            same = "yes" if tokens["ok"] else "NO"
        factor = s.get("times_lesson_before")
        rows.append([
            s["name"], f"{s['backend']} {s['dtype']}", same, measure.figure(s["min_margin"], 2),
            measure.median(s, "ttft_ms"), measure.median(s, "tpot_ms"),
            measure.median(s, "prefill_tok_s"), measure.with_spread(s, "decode_tok_s"),
            measure.median(s, "output_tok_s"),
            f"{measure.figure(factor)}x" if factor else "-", measure.percent(s),
            measure.median(s, "peak_bytes", 1e-6)])
    return header, rows


def remarks(workload):
    """What the table has no room for, as (is it a lesson's failure, sentence)."""
    for s in workload["entries"]:
        ours = s["kind"] == "lesson"
        if s["failure"]:
            yield ours, f"{s['name']}: {s['failure']}"
        if s.get("note"):
            yield False, f"{s['name']}: {s['version']}; {s['note']}"
        tokens = s.get("tokens")
        if tokens and tokens["detail"] and ours:
            yield tokens["exact"], f"{s['name']}: other tokens: {tokens['detail']}"
        for failed in s["checks_failed"]:
            yield ours, f"{s['name']}: its own check failed: {failed}"


def about(workload):
    lengths = sorted(workload["prompt_tokens"]) or [0]
    words = "random token ids" if workload["random_ids"] else "tokens"
    return (f"{len(lengths)} prompt(s) of {lengths[0]} to {lengths[-1]} {words}, at most "
            f"{workload['max_new_tokens']} new ones; medians of {workload['rounds']} round(s); "
            f"tokens held to those of {workload['baseline']}.")


def all_well(result):
    """Did every lesson run, pass its own checks, and give in f32 the same tokens?"""
    return all(s["failure"] is None and not s["checks_failed"] and s["tokens"]["ok"]
               for workload in result["workloads"] for s in workload["entries"]
               if s["kind"] == "lesson")


def commit_of(options):
    """Of the programs: the archive of //tools:gpu_bundle says in a file beside them."""
    if options.programs:
        file = here(options.programs).parent / "COMMIT"
        return file.read_text().strip() if file.is_file() else "unknown"
    try:
        return machine.commit(os.environ["BUILD_WORKSPACE_DIRECTORY"])
    except (KeyError, OSError, machine.subprocess.CalledProcessError):
        return "unknown"


def public(arguments):
    """The flags that say what was measured, without the folders of this machine."""
    shown = []
    words = iter(arguments)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in ("--json", "--html", "--peer-python", "--programs"):
            if not equals:
                next(words, None)
        elif flag in ("--model", "--prompts"):
            shown.append(f"{flag}={pathlib.Path(value if equals else next(words, '')).name}")
        elif flag != "--keep":
            shown.append(word)
    return shown


def command_of(options, arguments, target="//lessons:compare"):
    flags = public(arguments)
    if options.programs:
        return (shlex.join(["./run.sh", "compare", *flags]) +
                ", in the archive of //tools:gpu_bundle")
    return shlex.join(["bazel", "run", target] + (["--", *flags] if flags else []))


def kept(path, commit):
    """The workloads of a result that is there already."""
    try:
        old = json.loads(path.read_text())
    except (OSError, ValueError):
        return []
    if old.get("commit") != commit:
        raise BadFlag(f"--keep: {path} is of commit {old.get('commit')}, not {commit}")
    return old["workloads"]


def show(result):
    for workload in result["workloads"]:
        print(f"\n{workload['name']}: {about(workload)}\n")
        print(measure.text_table(*ladder(workload)))
        for _, sentence in remarks(workload):
            print(f"  {sentence}")
    print(flush=True)


def compare(options, arguments):
    def say(sentence):
        print(f"compare: {sentence}", file=sys.stderr, flush=True)

    if options.read:
        try:
            result = json.loads(here(options.read).read_text())
            show(result)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadFlag(f"--read {options.read}: no result of this program: {error}") from None
    else:
        check(options)
        found = programs(options)
        gpu = machine.gpu()
        to_do = workloads(options, gpu)
        commit = commit_of(options)
        old = kept(options.json, commit) if options.keep else []
        check_writable(options.json, options.html)
        load = os.getloadavg()[0]
        if load > 0.5 * len(os.sched_getaffinity(0)):
            say(f"the load average is {load:.1f}: on a machine that does anything else, figures "
                "say little")
        done = [run_workload(workload, found, options, gpu, say) for workload in to_do]
        names = [workload["name"] for workload in done]
        for workload in done:
            workload["command"] = command_of(options, arguments)
        result = {
            "schema": 1, "machine": {**machine.cpu(), **gpu}, "commit": commit,
            "command": command_of(options, arguments),
            "load_average": [round(load, 2), round(os.getloadavg()[0], 2)],
            "workloads": [w for w in old if w["name"] not in names] + done,
        }
        show(result)
        options.json.write_text(json.dumps(result, indent=1) + "\n")
        print(options.json)
    options.html.write_text(page.page(result, ladder, remarks, about))
    print(options.html)
    return 0 if all_well(result) else 1


def run(body, name):
    """main() of both programs: bad flags are a sentence, and exit status 2."""
    try:
        return body()
    except BadFlag as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130


def main():
    from_build = ("--lesson=", "--default-model=")
    said = [argument for argument in sys.argv[1:] if not argument.startswith(from_build)]
    return run(lambda: compare(parse(sys.argv[1:]), said), "compare")


if __name__ == "__main__":
    sys.exit(main())
