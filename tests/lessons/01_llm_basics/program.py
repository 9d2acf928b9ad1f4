"""Runs the lesson's program for the tests beside it."""

import collections
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.path.abspath("lessons/01_llm_basics/01_llm_basics")
TINY = pathlib.Path("tests/golden/tiny").resolve()
TRACE = pathlib.Path("tests/golden/trace.json").resolve()
SENTENCEPIECE = pathlib.Path("tests/golden/sentencepiece").resolve()

# A test that hangs must end before Bazel ends it, with its output.
TIMEOUT = 120

Result = collections.namedtuple("Result", "code stdout stderr")


def run(*args):
    """The program's exit code (negative: by a signal) and output."""
    result = subprocess.run([PROGRAM, *(os.fsencode(str(arg)) for arg in args)],
                            capture_output=True, timeout=TIMEOUT, check=False)
    # Decoding fails if the program prints half a character.
    return Result(result.returncode, result.stdout.decode(), result.stderr.decode())


def report(*args):
    """The report of a run that must succeed."""
    result = run(*args, "--json", "-")
    if result.code != 0:
        raise AssertionError(f"{args}: exit code {result.code}\n{result.stderr}")
    return json.loads(result.stdout)


class TestCase(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def tiny(self, name, tokenizer=True):
        """A writable copy of a tiny checkpoint, with a tokenizer of 480 pieces."""
        folder = self.folder / name
        shutil.copytree(TINY / name, folder, copy_function=shutil.copyfile)
        if tokenizer:
            shutil.copyfile(SENTENCEPIECE / "tokenizer.model", folder / "tokenizer.model")
        return folder


def main():
    unittest.main(argv=sys.argv[:1], verbosity=2)
