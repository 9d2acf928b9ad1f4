#!/usr/bin/env python3
"""From an exercise's reference to the stub that a reader starts from: make_stub.py NAME.cc FOLDER

FOLDER is the lesson's. Leaves out what stands between the lines `// BEGIN SOLUTION` and
`// END SOLUTION`, of which there may be several pairs. A line `// STUB: CODE` between them leaves
CODE, so that the stub compiles.
"""

import pathlib
import sys

BEGIN = "// BEGIN SOLUTION"
END = "// END SOLUTION"
KEEP = "// STUB: "


def make_stub(text, name, lesson_folder):
    """The stub. `name` is the exercise's; it and `lesson_folder` go into the first TODO."""
    lines = []
    begun_at = None
    n_solutions = 0
    for number, line in enumerate(text.splitlines(), 1):
        word = line.strip()
        indent = line[:len(line) - len(line.lstrip())]
        if word == BEGIN:
            if begun_at is not None:
                raise ValueError(f"line {number}: {BEGIN} inside of the one at line {begun_at}")
            begun_at = number
            n_solutions += 1
            lines.append(f"{indent}// TODO: your code.")
            if n_solutions == 1:
                lines.append(f"{indent}// What it must do: {name}.h. "
                             f"The idea: {lesson_folder}/README.md.")
        elif word == END:
            if begun_at is None:
                raise ValueError(f"line {number}: {END} without {BEGIN}")
            begun_at = None
        elif begun_at is None:
            lines.append(line)
        elif word.startswith(KEEP):
            lines.append(indent + word[len(KEEP):])
    if begun_at is not None:
        raise ValueError(f"line {begun_at}: {BEGIN} without {END}")
    if n_solutions == 0:
        raise ValueError(f"no {BEGIN}: the stub would be the solution")
    return "\n".join(lines) + "\n"


def main():
    path = pathlib.Path(sys.argv[1])
    try:
        sys.stdout.write(make_stub(path.read_text(), path.stem, sys.argv[2]))
    except ValueError as error:
        sys.exit(f"{path}: {error}")


if __name__ == "__main__":
    main()
