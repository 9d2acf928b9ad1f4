#!/usr/bin/env python3
"""The tour as a reader takes it first, with the default model."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import program  # pylint: disable=wrong-import-position


class TourTest(program.TestCase):

    def test_every_part_in_a_page_or_two(self):
        result = program.run()
        self.assertEqual((result.code, result.stderr), (0, ""))
        for part in ("Tokenizer", "Embedding", "RMSNorm", "RoPE", "Attention", "Feed-forward",
                     "Residual stream", "Logits", "Parameters"):
            self.assertRegex(result.stdout, rf"\n\d\. {part}: ")
        self.assertLess(len(result.stdout.splitlines()), 170)
        self.assertNotIn(": NO (", result.stdout)

    def test_the_answer_comes_up_in_the_last_layers(self):
        logits = program.report("--show", "logits")["shown"]["logits"]
        self.assertEqual(logits["answer"], 7042)  # ' Paris'
        self.assertGreater(logits["layers"][0]["rank"], 100)
        self.assertEqual(logits["layers"][29]["rank"], 1)

    def test_words_that_are_used_alike_lie_close(self):
        result = program.run("--show", "embedding", "--text", " king Monday")
        self.assertRegex(result.stdout, r"nearest .*' queen' 0\.\d\d")
        self.assertRegex(result.stdout, r"nearest  ' Tuesday' 0\.\d\d ' Wednesday'")

    def test_parameters_of_the_file(self):
        params = program.report("--show", "params")["shown"]["params"]
        self.assertEqual(sum(part["by_config"] for part in params.values()), 134515008)


if __name__ == "__main__":
    program.main()
