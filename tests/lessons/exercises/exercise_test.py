#!/usr/bin/env python3
"""Proves a grader: exercise_test.py REFERENCE_PROGRAM VARIANT HINT VARIANT HINT ...

The program of a variant is named as the reference's, with VARIANT in place of "reference". The
reference must pass; the stub and each mutant must fail, with HINT in what the reader is told.
"""

import os
import sys
import unittest

sys.path.insert(0, "tools/exercises")
import run_check  # pylint: disable=wrong-import-position

PROGRAM = os.path.abspath(sys.argv[1])
HINTS = dict(zip(sys.argv[2::2], sys.argv[3::2]))


class ExerciseTest(unittest.TestCase):

    def grade(self, variant):
        return run_check.grade(PROGRAM[:-len("reference")] + variant)

    def test_reference_passes(self):
        verdict = self.grade("reference")
        self.assertEqual(verdict.state, "passes", verdict.text)

    def test_stub_and_mutants_fail_with_their_hint(self):
        wrong = [variant for variant in HINTS if variant != "reference"]
        self.assertIn("stub", wrong)
        self.assertGreaterEqual(len(wrong), 4, "an exercise has at least three mutants")
        for variant in wrong:
            with self.subTest(variant=variant):
                verdict = self.grade(variant)
                print(f"---- {variant}: {verdict.state}\n{verdict.text}")
                self.assertNotEqual(verdict.state, "passes")
                self.assertTrue(verdict.hint)
                self.assertIn(HINTS[variant], verdict.text)
                if variant == "stub":
                    self.assertEqual(verdict.state, "fails")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
