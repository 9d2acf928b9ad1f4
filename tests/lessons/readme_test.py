#!/usr/bin/env python3
"""Holds a document to its programs: what it says to type works, and prints what it says.

    readme_test.py DOCUMENT --program LABEL=PATH ... [--figures REGEX] [--words REGEX]
                   [--maybe REGEX] [--with FLAG] [--shorten FLAG=VALUE] [--not-run REGEX]

Bazel calls it, see readme_test.bzl, with the programs that the document's commands name. It checks:

1. *Flags.* Each command that begins with ./bazelw and passes flags, in a code block or between
   backticks, passes only flags that its program's --help lists; each `--flag` between backticks is
   known to one of the programs, or to Bazel. (Paths, links and targets: //tests/docs:docs_test.)
2. *Output.* The first code block under "Expected output" is what the first command under "Run"
   prints; a block right below the line <!-- output --> is what the last command above it prints. If
   there is expected/output.txt beside the document, the block is that file, word for word.
3. *Running.* Every other command in a code block, if its program is given and no word of it is in
   capitals (FILE), runs and exits with 0, with the flags of --shorten that its program has, so that
   it takes seconds. One that asks for --backend cuda may instead exit with 2 and say that there is
   no GPU. Commands that --not-run matches are only checked as in 1.

How output is compared: line by line, exactly, but for the last digit of a number with a decimal
point, which may be one more or less (sums of floats round differently on another CPU), and for
    --figures REGEX  lines that match it, at their start: numbers are any numbers, GB/s may be MB/s
    --words REGEX    lines that match it, at their start: what follows the match is anything
    --maybe REGEX    lines that match it, at their start, may be there or not, on either side
and in the document, a line that ends with "..." is the beginning of a line, and one that is only
"..." any number of lines. What all lessons print (common/engine/lesson.cc) is known: see REPORT.
"""

import argparse
import difflib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.abspath("tests/docs"))
import markdown  # pylint: disable=wrong-import-position

# What every lesson prints that depends on the machine.
REPORT = {
    "words": [r"machine "],
    "maybe": [r"gpu "],  # why this machine has none
    "figures": [r"memory ", r"price ", r"before ", r"after ", r"roofline ", r"moved "],
}

NUMBER = re.compile(r" *[-+]?[0-9][0-9,]*(\.[0-9]+)?(e[-+]?[0-9]+)?"
                    r"( ?[kKMGTmun](?=B\b|FLOP|s\b))?")

# Bazel's own, where they stand alone in a sentence; configs are checked by //tests/docs:docs_test.
OF_BAZEL = {"--config", "--yes"}


def parse_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("document", type=pathlib.Path)
    parser.add_argument("--program", action="append", default=[])
    for name in ("figures", "words", "maybe", "not-run", "shorten", "with"):
        parser.add_argument(f"--{name}", action="append", default=[])
    return parser.parse_args()


ARGUMENTS = parse_arguments()
TEXT = ARGUMENTS.document.read_text()
COMMANDS = markdown.commands(TEXT)
PROGRAMS = {markdown.label(label): pathlib.Path(path).absolute()
            for label, path in (program.split("=", 1) for program in ARGUMENTS.program)}


def program_of(command):
    """The program that a `run` starts, if the test was given it."""
    return PROGRAMS.get(markdown.label(command.targets[0])) if command.verb == "run" else None


def help_of(program):
    """Its --help; of a source file, the text: only machines with CUDA can build some programs."""
    if not os.access(program, os.X_OK):
        return program.read_text()
    run = subprocess.run([program, "--help"], capture_output=True, text=True, check=False,
                         timeout=60)
    return run.stdout + run.stderr


def knows(program, flag):
    # --raw,!--chat is shown as --raw,--chat{false}.
    return re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", help_of(program)) is not None


def shortened(command):
    """Its arguments, with the values of --shorten."""
    argv = list(command.argv)
    for setting in ARGUMENTS.shorten:
        flag = setting.split("=")[0]
        if not knows(program_of(command), flag):
            continue
        while flag in argv:
            del argv[argv.index(flag):argv.index(flag) + 2]
        argv = [word for word in argv if not word.startswith(flag + "=")] + [setting]
    return argv


def start(command, argv, folder):
    """Runs it as `bazel run` would, in a folder that looks like the workspace but is nobody's."""
    for entry in os.scandir("."):
        link = pathlib.Path(folder, entry.name)
        if not link.exists():
            link.symlink_to(os.path.abspath(entry.path))
    return subprocess.run([program_of(command), *argv], cwd=folder, capture_output=True, text=True,
                          check=False, env={**os.environ, "BUILD_WORKING_DIRECTORY": folder})


def rules(name):
    return REPORT.get(name, []) + getattr(ARGUMENTS, name)


def masked(text):
    """The lines of the text, less what may differ."""
    lines = []
    for line in text.strip().splitlines():
        if any(re.match(rule, line) for rule in rules("maybe")):
            continue
        match = next((m for rule in rules("words") if (m := re.match(rule, line))), None)
        if match:
            line = match[0] + "(anything)"
        if any(re.match(rule, line) for rule in rules("figures")):
            line = re.sub(r" +", " ", NUMBER.sub(" #", line))
        lines.append(line.rstrip())
    return lines


def neighbours(number):
    """A regex for a number as printed, and for those that differ by one in its last digit."""
    digits = len(number.split(".")[1])
    last, unit = int(number.replace(".", "")), 10 ** digits
    near = (f"{n // unit}.{n % unit:0{digits}}" for n in (last - 1, last, last + 1) if n >= 0)
    return "(?:" + "|".join(re.escape(n) for n in near) + ")"


def same(shown, printed):
    """Whether the masked lines are those, "..." in `shown` standing for anything."""
    pattern = "\n".join(re.escape(line) for line in shown) + "\n"
    pattern = re.sub(r"\d+\\\.\d+", lambda m: neighbours(m[0].replace("\\", "")), pattern)
    pattern = pattern.replace("\\.\\.\\.\n", "...\n").replace("\n...\n", "\n(.*\n)*?")
    pattern = re.sub(r"\\? ?\.\.\.\n", ".*\n", pattern)
    return re.fullmatch(pattern, "\n".join(printed) + "\n") is not None


def outputs():
    """(command, what the document says that it prints)"""
    found = []
    blocks = markdown.code_blocks(TEXT)
    under_run = [c for c in COMMANDS if c.is_block and c.heading == "Run" and program_of(c)]
    expected = [block for block in blocks if block.heading == "Expected output"]
    if expected:
        found.append((under_run[0], "\n".join(expected[0].lines)))
    above = TEXT.split("<!-- output -->\n")
    for i, block in enumerate(block for block in blocks if block.marker == "output"):
        commands = markdown.commands("".join(above[:i + 1]))
        found.append(([c for c in commands if program_of(c)][-1], "\n".join(block.lines)))
    return found


class ReadmeTest(unittest.TestCase):

    def test_flags_are_known_to_the_program(self):
        for command in COMMANDS:
            wanted = markdown.flags(command.argv)
            if command.verb != "run" or not wanted:
                continue
            with self.subTest(command=command.text):
                self.assertTrue(program_of(command), "give the test this program with `programs`")
                for flag in wanted:
                    self.assertTrue(knows(program_of(command), flag), f"no flag {flag}")

    def test_flags_in_sentences_are_known_to_a_program(self):
        for span in markdown.code_spans(TEXT):
            if span.startswith("./bazelw"):
                continue
            for flag in markdown.flags(span.split()):
                with self.subTest(span=span):
                    known = flag in OF_BAZEL or any(knows(p, flag) for p in PROGRAMS.values())
                    self.assertTrue(known, f"no program has {flag}")

    def test_output_is_what_the_program_prints(self):
        for command, shown in outputs():
            with self.subTest(command=command.text), tempfile.TemporaryDirectory() as folder:
                run = start(command, command.argv + getattr(ARGUMENTS, "with"), folder)
                self.assertEqual((run.returncode, run.stderr), (0, ""))
                if not same(masked(shown), masked(run.stdout)):
                    diff = difflib.unified_diff(masked(shown), masked(run.stdout),
                                                "the document", "the program", lineterm="")
                    self.fail("\n".join(diff))

    def test_document_shows_the_expected_output(self):
        expected = ARGUMENTS.document.parent / "expected" / "output.txt"
        is_lesson = ARGUMENTS.document.parts[0] == "lessons"
        self.assertEqual(expected.exists(), is_lesson)
        if is_lesson:
            lines = [line.rstrip() for line in expected.read_text().strip().splitlines()]
            self.assertIn(lines, [[line.rstrip() for line in shown.splitlines()]
                                  for _, shown in outputs()])

    def test_other_commands_run(self):
        shown = [command for command, _ in outputs()]
        for command in COMMANDS:
            if (not command.is_block or command in shown or not program_of(command)
                    or not os.access(program_of(command), os.X_OK)
                    or any(markdown.PLACEHOLDER.search(word) for word in command.argv)
                    or any(re.search(rule, command.text) for rule in ARGUMENTS.not_run)):
                continue
            with self.subTest(command=command.text), tempfile.TemporaryDirectory() as folder:
                run = start(command, shortened(command), folder)
                if run.returncode == 2 and "cuda" in command.argv:
                    self.assertRegex(run.stderr, r"^error: .*(NVIDIA|GPU|CUDA)")
                else:
                    self.assertEqual(run.returncode, 0, run.stderr)
                    self.assertTrue(run.stdout)
                print("ran:", command.text, file=sys.stderr)


class ComparisonTest(unittest.TestCase):
    """The comparison itself: it must be able to fail."""

    def test_figures_of_measured_lines_are_any(self):
        self.assertEqual(masked("moved    1.5 GB/s -> 20 us (2x)"),
                         masked("moved    200 MB/s -> 3 ms (15x)"))
        self.assertNotEqual(masked("moved    1 -> 2"), masked("moved    1 => 2"))

    def test_figures_of_other_lines_are_not(self):
        self.assertNotEqual(masked("check    64 of 64"), masked("check    63 of 64"))

    def test_last_digits_may_differ_by_one(self):
        self.assertTrue(same(["after 619.25, -0.10"], ["after 619.24, -0.11"]))
        self.assertTrue(same(["1.99"], ["2.00"]))
        self.assertTrue(same(["0.00"], ["0.01"]))
        self.assertFalse(same(["619.25"], ["619.23"]))
        self.assertFalse(same(["619.25"], ["619.250"]))
        self.assertFalse(same(["29"], ["30"]))

    def test_ellipsis(self):
        self.assertTrue(same(["a", "...", "d"], ["a", "b", "c", "d"]))
        self.assertTrue(same(["a long ..."], ["a long line"]))
        self.assertFalse(same(["a", "...", "d"], ["a", "b"]))
        self.assertFalse(same(["a long ..."], ["a short line"]))
        self.assertFalse(same(["a"], ["a", "b"]))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
