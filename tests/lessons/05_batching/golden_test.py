#!/usr/bin/env python3
"""Lesson 05 with the default model: golden prompts together in batches have the tokens that a numpy
forward pass gave each of them alone; and Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lesson_test  # pylint: disable=wrong-import-position

with open("tests/golden/smollm2.json", encoding="utf-8") as golden_file:
    GOLDEN = json.load(golden_file)


class GoldenTest(unittest.TestCase):

    def test_golden_prompts_together(self):
        golden = [entry for entry in GOLDEN.values() if len(entry["prompt"]) < 200]
        self.assertGreater(len(golden), 5)
        prompts = lesson_test.written([entry["prompt"] for entry in golden])
        n_new = 16
        found = lesson_test.report("--prompts", prompts, "--backend", "cpu", "--max-new-tokens",
                                   n_new, "--ignore-eos", "--max-seqs", 4, "--chunk", 24)
        self.assertTrue(all(check["ok"] for check in found["checks"]), found["checks"])
        for run in found["runs"]:
            for output, entry in zip(run["outputs"], golden, strict=True):
                n = min(n_new, len(entry["greedy"]))
                self.assertEqual(output["tokens"][:n], entry["greedy"][:n])
        self.assertGreater(found["runs"][1]["seqs_per_step"], 1.5)

    def test_ctrl_c_prints_what_it_has_and_the_figures(self):
        with subprocess.Popen(
                [lesson_test.PROGRAM, "--backend", "cpu"], stdout=subprocess.PIPE,
                stderr=subprocess.PIPE) as process:
            shown = b""
            while b"\none at a time" not in shown:  # the first run is over
                shown += process.stdout.read1()
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=800)
        self.assertEqual((process.returncode, errors), (0, b""))
        for said in (b"static batches", b"moved ", b"all pages are back: yes"):
            self.assertIn(said, rest)
        self.assertNotIn(b"nan", rest)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
