#!/usr/bin/env python3
"""Holds a lesson's README to a real run: readme_test.py LESSON_FOLDER PROGRAM [FLAG ...]

The README's "Expected output" must be the file expected/output.txt, word for word, and the program
must print the same: the words exactly, the figures of the lines in MEASURED as any figures.
"""

import pathlib
import re
import subprocess
import sys
import unittest

FOLDER = pathlib.Path(sys.argv[1])
PROGRAM = pathlib.Path(sys.argv[2]).resolve()

# Lines whose figures depend on the machine, by their first word.
MEASURED = ("memory", "price", "before", "after", "roofline", "moved", "engine", "y = x", "peak")


def masked(text):
    lines = []
    for line in text.strip().splitlines():
        if line.startswith("machine "):
            line = "machine ..."
        if line.startswith("gpu "):  # why this machine has none
            continue
        if line.startswith(MEASURED) or re.match(r" +[0-9] ", line):  # or a level of a ladder
            line = re.sub(r" *[0-9]+(\.[0-9]+)?(e\+[0-9]+)?", " #", line)
        lines.append(line.rstrip())
    return lines


class ReadmeTest(unittest.TestCase):
    def setUp(self):
        self.expected = (FOLDER / "expected" / "output.txt").read_text()

    def test_readme_shows_the_expected_output(self):
        readme = (FOLDER / "README.md").read_text()
        section = readme.split("## Expected output", 1)[1].split("\n## ", 1)[0]
        shown = [line[4:] for line in section.splitlines() if line.startswith("    ") or not line]
        self.assertIn(self.expected.strip(), "\n".join(shown))

    def test_program_prints_it(self):
        command = [str(PROGRAM), "--prompt", "Why is the sky blue?", *sys.argv[3:]]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        self.assertEqual(masked(run.stdout), masked(self.expected))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
