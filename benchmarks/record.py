"""Runs a benchmark or a lesson and keeps what it measured, with what one must know to judge it.

    python3 benchmarks/record.py bench_dequantize [FLAG ...]
    python3 benchmarks/record.py 02_running_an_llm [FLAG ...]
    python3 benchmarks/record.py ladder [FLAG ...]
    python3 benchmarks/record.py bench_lesson_04 [FLAG ...]
    python3 benchmarks/record.py --gpu FOLDER

--gpu keeps what the archive of //tools:gpu_bundle measured on another machine: FOLDER is the
`results` that its run.sh wrote there.

`ladder` is //lessons:compare; its flags choose rounds and workloads.

Writes benchmarks/results/NAME.json: Google Benchmark's own JSON, the report of the lesson's median
run of five, or what the comparison of lessons found, plus the machine, the commit and the command,
less what is nobody's business (host name, paths). AIOS_BAZEL, if set, replaces `bazel`.
"""

import collections
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools" / "compare"))
import machine as this_machine  # pylint: disable=wrong-import-position

# What writes its own JSON to --json FILE: the ladder of all lessons, and each lesson's benchmark.
OWN_JSON = re.compile(r"ladder|bench_lesson_0[2-9]")
# The same, but what it measured alone.
PLAIN_JSON = re.compile(r"bench_(decode|engine)")


def machine():
    return this_machine.cpu()


def commit():
    return this_machine.commit(ROOT)


def run(target, *flags):
    """What the program wrote to the JSON file that `flags` name as OUT."""
    bazel = shlex.split(os.environ.get("AIOS_BAZEL", "bazel"))
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out.json"
        flags = [flag.replace("OUT", str(out)) for flag in flags]
        subprocess.run([*bazel, "run", target, "--", *flags], cwd=ROOT, check=True)
        return json.loads(out.read_text())


def benchmark(target, flags):
    measured = run(target, "--benchmark_out=OUT", *flags)
    for private in ("host_name", "executable"):
        measured["context"].pop(private, None)
    return {"context": measured["context"], "benchmarks": measured["benchmarks"]}


def lesson(target, flags):
    return median_of_runs([run(target, "--json=OUT", *flags) for _ in range(5)])


def median_of_runs(reports):
    """The report of the run whose speed is the median, and the speeds of all."""
    run = reports[0]["runs"][-1]
    what = "output_tok_s" if run.get("seqs_per_step", 1) > 1 else "decode_tok_s"

    def speed(report):
        return report["runs"][-1][what]

    reports = sorted(reports, key=speed)
    return {**reports[len(reports) // 2],
            f"{what}_of_runs": [round(speed(report), 2) for report in reports]}


def keep_gpu(folder):
    name, driver = (folder / "GPU").read_text().strip().splitlines()[0].split(", ")

    def on_gpu(measured, what):
        return {**measured,
                "machine": {"gpu": name, "driver": driver},
                "commit": (folder / "COMMIT").read_text().strip(),
                "command": f"bazel run //tools:gpu_bundle -- aios_gpu.tar.gz; there: ./run.sh {what}"}

    lessons = collections.defaultdict(lambda: collections.defaultdict(list))
    for path in sorted(folder.glob("*.json")):
        measured = json.loads(path.read_text())
        if "lesson" in measured:  # LESSON.WORKLOAD.N.json
            lesson_name, workload, _ = path.stem.split(".")
            lessons[lesson_name][workload].append(measured)
        elif "workloads" in measured:  # the comparison says it itself
            keep(path.stem, measured)
        else:
            keep(path.stem, on_gpu(measured, "ladders" if path.stem.startswith("ladder") else "benchmarks"))
    for lesson_name, workloads in lessons.items():
        keep(lesson_name + "_gpu", on_gpu({"shapes": {
            workload: median_of_runs(reports) for workload, reports in workloads.items()}}, "lessons"))


def keep(name, result):
    path = ROOT / "benchmarks" / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path.relative_to(ROOT))


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--gpu":
        keep_gpu(pathlib.Path(os.environ.get("BUILD_WORKING_DIRECTORY", ".")) / sys.argv[2])
        return
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    name, flags = sys.argv[1], sys.argv[2:]
    is_lesson = name[0].isdigit()
    target = (f"//lessons/{name}" if is_lesson else "//lessons:compare" if name == "ladder" else
              f"//benchmarks:{name}")
    if OWN_JSON.fullmatch(name):
        keep(name, run(target, "--json=OUT", *flags))  # has machine, commit and command
        return
    before = commit()
    measured = (lesson(target, flags) if is_lesson else
                run(target, "--json=OUT", *flags) if PLAIN_JSON.fullmatch(name) else
                benchmark(target, flags))
    keep(name, {
        **measured,
        "machine": {**measured.get("machine", {}), **machine()},
        "commit": before,
        "command": shlex.join(["bazel", "run", target] + (["--", *flags] if flags else [])),
    })


if __name__ == "__main__":
    main()
