#!/usr/bin/env python3
"""Where a reader is: progress.py LIST ..., by `bazel run //lessons:progress`.

LISTs are lessons/LESSON/exercises.txt, in the course's order: the names of a lesson's exercises,
whose stubs lie beside it in stubs/. Each exercise is one line; what it says is found by building
and running what lies in exercises/, not remembered.
"""

import collections
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import run_check  # pylint: disable=wrong-import-position

Exercise = collections.namedtuple("Exercise", "lesson name stub")

NOT_STARTED = "not started"
STUB = "started, still the stub"
NO_BUILD = "does not compile"
PASSES = "passes"


def exercises_of(lists):
    return [Exercise(path.parent.name, name, path.parent / "stubs" / f"{name}.cc")
            for path in map(pathlib.Path, lists)
            for name in path.read_text(encoding="utf-8").split()]


def label(exercise):
    return f"//exercises/{exercise.lesson}:{exercise.name}"


def states(workspace, exercises, build):
    """What to say of each exercise, in order.

    `build(labels)` gives {label: program} of those that compile.
    """
    found = {}
    written = []
    for exercise in exercises:
        path = workspace / "exercises" / exercise.lesson / f"{exercise.name}.cc"
        if not path.exists():
            found[exercise] = NOT_STARTED
        elif path.read_bytes() == exercise.stub.read_bytes():
            found[exercise] = STUB
        else:
            written.append(exercise)
    programs = build([label(e) for e in written]) if written else {}
    for exercise in written:
        program = programs.get(label(exercise))
        if program is None:
            found[exercise] = NO_BUILD
        else:
            state, hint, _ = run_check.grade(program)
            found[exercise] = PASSES if state == "passes" else f"{state}: {hint}"
    return [found[e] for e in exercises]


def next_step(exercises, said):
    """What to do now: at the first exercise that was begun, then at the first that was not."""
    for exercise, state in sorted(zip(exercises, said), key=lambda pair: pair[1] == NOT_STARTED):
        folder = f"exercises/{exercise.lesson}"
        if state == NOT_STARTED:
            return f"./bazelw run //lessons/{exercise.lesson}:start"
        if state == STUB:
            return f"read {folder}/{exercise.name}.h, then write {folder}/{exercise.name}.cc"
        if state != PASSES:
            return f"./bazelw test {label(exercise)}_check"
    return "all exercises pass."


def report(exercises, said):
    lines = []
    width = max(len(e.name) for e in exercises) + 2
    lesson = None
    for exercise, state in zip(exercises, said):
        if exercise.lesson != lesson:
            lesson = exercise.lesson
            in_it = [s for e, s in zip(exercises, said) if e.lesson == lesson]
            lines.append(f"{lesson}: {in_it.count(PASSES)} of {len(in_it)}")
        lines.append(f"  {exercise.name:<{width}}{state}")
    return "\n".join(lines + ["", f"next: {next_step(exercises, said)}", ""])


def programs_in(events):
    """{label: program} of the targets that were built, from Bazel's build events: JSON lines."""
    files = {}
    built = {}
    for line in events:
        event = json.loads(line)
        if "namedSet" in event["id"]:
            files[event["id"]["namedSet"]["id"]] = event["namedSetOfFiles"].get("files", [])
        elif "targetCompleted" in event["id"] and event.get("completed", {}).get("success"):
            groups = event["completed"].get("outputGroup", [])
            built[event["id"]["targetCompleted"]["label"]] = [
                file_set["id"] for group in groups for file_set in group.get("fileSets", [])]
    programs = {}
    for target, sets in built.items():
        uris = [f["uri"] for s in sets for f in files.get(s, [])
                if f["name"].endswith(target.split(":")[1])]
        if uris:
            programs[target] = uris[0][len("file://"):]
    return programs


def bazel_build(workspace):
    """The `build` of states(), by Bazel."""
    def build(labels):
        # The same Bazel as the one that runs this, wherever its output base is.
        here = os.path.realpath(__file__ if "/execroot/" in __file__ else os.getcwd())
        startup = [f"--output_base={here.split('/execroot/')[0]}"] if "/execroot/" in here else []
        with tempfile.TemporaryDirectory() as folder:
            events = os.path.join(folder, "events.json")
            command = ["./bazelw", *startup, "build", "--keep_going",
                       f"--build_event_json_file={events}", *labels]
            result = subprocess.run(command, cwd=workspace, capture_output=True, text=True,
                                    check=False)
            if not os.path.exists(events):
                why = result.stderr.strip() or result.returncode
                raise RuntimeError(f"Bazel could not build: {why}")
            with open(events, encoding="utf-8") as file:
                return programs_in(file)
    return build


def main():
    workspace = os.environ.get("BUILD_WORKSPACE_DIRECTORY")
    if not workspace:
        print("progress: run me by ./bazelw run //lessons:progress", file=sys.stderr)
        return 2
    workspace = pathlib.Path(workspace)
    exercises = exercises_of(sys.argv[1:])
    try:
        print(report(exercises, states(workspace, exercises, bazel_build(workspace))), end="")
    except (RuntimeError, OSError) as error:
        print(f"progress: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
