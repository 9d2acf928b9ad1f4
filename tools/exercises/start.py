#!/usr/bin/env python3
"""Copies a lesson's stubs to exercises/LESSON: start.py LESSON FILE ...

`bazel run //lessons/LESSON:start` calls it. FILEs are the contracts (NAME.h) and the stubs
(NAME.cc), in the order in which to do them. A file that is there already is left alone, whatever it
holds.
"""

import os
import pathlib
import sys

BUILD = """# Written by `bazel run //lessons/{lesson}:start`, once.
# Yours to change; git ignores this folder.
load("//bazel:aios_exercise.bzl", "aios_checks")

aios_checks(
    exercises = [
{names}    ],
    lesson = "//lessons/{lesson}",
)
"""


def build_file(lesson, names):
    return BUILD.format(lesson=lesson, names="".join(f'        "{name}",\n' for name in names))


def put(path, text):
    """Writes a file that is not there. Says "new", or what it found in its place."""
    try:
        # "x" fails if there is anything of that name, a broken link too.
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
        return "new"
    except FileExistsError:
        try:
            same = path.read_text(encoding="utf-8", errors="replace") == text
        except OSError:
            same = False
        return "there, unchanged" if same else "left alone: yours"


def start(workspace, lesson, files):
    """Copies the files, given as paths. Returns what to tell the reader."""
    names = [f.stem for f in files if f.suffix == ".cc"]
    folder = workspace / "exercises" / lesson
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"exercises/{lesson}"]
    width = max(len(f.name) for f in files) + 2
    for source in files:
        found = put(folder / source.name, source.read_text(encoding="utf-8"))
        lines.append(f"  {source.name:<{width}}{found}")
    found = put(folder / "BUILD", build_file(lesson, names))
    lines.append(f"  {'BUILD':<{width}}{found}")
    if found.startswith("left"):
        there = (folder / "BUILD").read_text(errors="replace")
        missing = [name for name in names if f'"{name}"' not in there]
        if missing:
            lines.append(f"  BUILD does not name {', '.join(missing)}: delete it and run this "
                         "again, or add them.")
    first = names[0]
    lines += [
        "",
        f"Now read exercises/{lesson}/{first}.h, write your code into {first}.cc, and",
        "",
        f"    ./bazelw test //exercises/{lesson}:{first}_check   # grade it",
        f"    ./bazelw test //exercises/{lesson}:check   # grade this lesson's {len(names)}",
        "    ./bazelw run //lessons:progress   # see where you are",
        "",
    ]
    return "\n".join(lines)


def main():
    lesson, files = sys.argv[1], [pathlib.Path(f) for f in sys.argv[2:]]
    workspace = os.environ.get("BUILD_WORKSPACE_DIRECTORY")
    if not workspace:
        print(f"start: run me by ./bazelw run //lessons/{lesson}:start", file=sys.stderr)
        return 2
    try:
        print(start(pathlib.Path(workspace), lesson, files), end="")
    except OSError as error:
        print(f"start: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
