#!/usr/bin/env python3
"""Lesson 04 with the default model: the tokens of a numpy forward pass, for every layout."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lesson_test  # pylint: disable=wrong-import-position

with open("tests/golden/smollm2.json", encoding="utf-8") as golden_file:
    GOLDEN = json.load(golden_file)


class GoldenTest(unittest.TestCase):

    def test_tokens_for_every_page_size(self):
        for page_size in (1, 16, 17, 64, 8192):
            report = lesson_test.report("--prompt", "Why is the sky blue?", "--backend", "cpu",
                                        "--page-size", page_size, "--max-new-tokens", 24)
            for run in report["runs"]:
                self.assertEqual(run["outputs"][0]["tokens"], GOLDEN["sky"]["greedy"][:24])
            self.assertTrue(all(check["ok"] for check in report["checks"]), report["checks"])
            self.assertEqual(report["figures"]["prefix_known_tokens"] > 0, page_size < 300)

    def test_ctrl_c_prints_what_it_has_and_the_figures(self):
        with tempfile.NamedTemporaryFile(suffix=".json") as file, subprocess.Popen(
                [lesson_test.PROGRAM, "--raw", "--prompt", "Once upon a time", "--ignore-eos",
                 "--max-new-tokens", "5000", "--json", file.name],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            shown = b""
            while b"\n> Once upon a time\n" not in shown or len(shown.split(b"> Once")[1]) < 30:
                shown += process.stdout.read1()
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=800)
            report = json.load(file)
        self.assertEqual((process.returncode, errors), (0, b""))
        self.assertIn(b"moved ", rest)
        self.assertEqual(report["runs"][0]["outputs"][0]["finish_reason"], "interrupted")
        self.assertNotIn("prefix_tokens", report.get("figures", {}))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
