#!/usr/bin/env python3
"""Lesson 03 as a person runs it, on the backends that this machine has: its tokens are those of
independent programs, and what cannot be had is refused with a sentence."""

import json
import os
import pathlib
import subprocess
import sys
import unittest

PROGRAM = os.path.abspath("lessons/03_cuda_kernels/03_cuda_kernels")
TINY = pathlib.Path("tests/golden/tiny").resolve()


def run(*args, **environment):
    return subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, check=False,
                          timeout=240, env={**os.environ, **environment})


def have_gpu():
    return pathlib.Path("/dev/nvidia0").exists()


class TokensTest(unittest.TestCase):
    def check(self, family, *args):
        golden = json.loads((TINY / family / "golden.json").read_text())
        result = run("--model", TINY / family, "--prompt-ids", ",".join(map(str, golden["prompt"])),
                     "--max-new-tokens", len(golden["greedy"]), "--ignore-eos", "--json", "-",
                     "--dtype", "f32", *args)
        self.assertEqual(result.returncode, 0, result.stderr)
        report = json.loads(result.stdout)
        self.assertEqual([r["name"] for r in report["runs"]], ["before", "after"])
        for r in report["runs"]:
            self.assertEqual(r["outputs"][0]["tokens"], golden["greedy"])
        self.assertTrue(all(check["ok"] for check in report["checks"]))
        return report

    def test_on_the_cpu(self):
        for family in ("llama_tied", "qwen2", "qwen3"):
            report = self.check(family, "--backend", "cpu", "--threads", 2)
            self.assertEqual(report["runs"][1]["backend"], "cpu")

    def test_on_the_gpu(self):
        if not have_gpu():
            self.skipTest("no NVIDIA GPU here")
        for family in ("llama_tied", "qwen2", "qwen3"):
            report = self.check(family, "--backend", "cuda")
            self.assertEqual(report["runs"][1]["backend"], "cuda")


class RefusalTest(unittest.TestCase):
    def refused(self, *args, words=(), **environment):
        result = run("--model", TINY / "llama_tied", "--prompt-ids", "1,2,3", *args, **environment)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertTrue(result.stderr.startswith("error: "), result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1)
        for word in words:
            self.assertIn(word, result.stderr)

    def test_threads(self):
        for threads in ("0", "10000", "-1", "many"):
            self.refused("--threads", threads, words=("--threads",))

    def test_bf16_on_the_cpu(self):
        self.refused("--backend", "cpu", "--dtype", "bf16", words=("f32",))

    def test_a_gpu_that_is_not_there(self):
        self.refused("--backend", "cuda", "--device", "999")
        self.refused("--device", "999")
        self.refused("--device", "-1", words=("--device",))
        self.refused("--backend", "cuda", words=("CUDA_VISIBLE_DEVICES",) if have_gpu() else (),
                     CUDA_VISIBLE_DEVICES="")

    def test_without_a_gpu_auto_takes_the_cpu_and_says_why(self):
        result = run("--model", TINY / "llama_tied", "--prompt-ids", "1,2,3", "--max-new-tokens",
                     "2", "--json", "-", CUDA_VISIBLE_DEVICES="")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stderr, r"engine   the CPU \(.*\), in f32\ngpu      none: ")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
