"""Runs the lesson's program for the tests beside it, and measures what it takes."""

import collections
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = os.path.abspath("lessons/02_running_an_llm/02_running_an_llm")
TINY = pathlib.Path("tests/golden/tiny").resolve()
TOKENIZERS = pathlib.Path("tests/golden/tokenizers").resolve()
SENTENCEPIECE = pathlib.Path("tests/golden/sentencepiece").resolve()
DEFAULT_MODEL = pathlib.Path("../smollm2/SmolLM2-135M-Instruct.Q4_1.gguf").resolve()

# Checkpoints without a tokenizer.
FAMILIES = ["llama3_scaled", "llama_bf16", "llama_sharded", "llama_tied", "mistral", "qwen2",
            "qwen3"]

# A test that hangs must end before Bazel ends it, with its output.
TIMEOUT = 240

Result = collections.namedtuple("Result", "code stdout stderr cpu_seconds peak_bytes")


def run(*args):
    """The program's exit code (negative: by a signal), output, and what it took of the machine."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen([PROGRAM, *(os.fsencode(str(arg)) for arg in args)], stdout=stdout,
                                   stderr=stderr)
        deadline = time.monotonic() + TIMEOUT
        while True:  # not Popen.wait: it does not tell what the process took
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid != 0:
                break
            if time.monotonic() > deadline:
                process.kill()
                raise AssertionError(f"still running after {TIMEOUT} s: {args}")
            time.sleep(0.01)
        process.returncode = os.waitstatus_to_exitcode(status)
        outputs = []
        for file in (stdout, stderr):
            file.seek(0)
            outputs.append(file.read().decode())  # a program that prints half a character fails
        return Result(process.returncode, *outputs, usage.ru_utime + usage.ru_stime,
                      usage.ru_maxrss * 1024)


def report(*args):
    """The report of a run that must succeed."""
    result = run(*args, "--json", "-")
    if result.code != 0:
        raise AssertionError(f"{args}: exit code {result.code}\n{result.stderr}")
    return json.loads(result.stdout)


def golden(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def ids(tokens):
    return ",".join(map(str, tokens))


class TestCase(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write(self, name, content):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path


def main():
    unittest.main(argv=sys.argv[:1], verbosity=2)
