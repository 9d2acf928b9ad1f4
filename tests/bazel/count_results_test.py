#!/usr/bin/env python3
""".ci/count_results.py: a skip, a build that failed and a Bazel that gave up must not look like a pass."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

SCRIPT = os.path.abspath(".ci/count_results.py")


class CountResultsTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def run_of(self, events, tests, status=0, name="plain", others=""):
        self.write(name + ".json", "".join(json.dumps(event) + "\n" for event in events))
        self.write(name + ".tests", "\n".join(tests) + "\n")
        self.write(name + ".others", others)
        self.write(name + ".status", f"{status}\n")

    def summary(self, label, status="PASSED"):
        return {"id": {"testSummary": {"label": label}}, "testSummary": {"overallStatus": status}}

    def report(self, label, *cases):
        xml = "".join(f'<testcase result="{case}"/>' for case in cases)
        path = self.write(label.strip("/") + ".xml", f"<testsuites>{xml}</testsuites>")
        return {"id": {"testResult": {"label": label}},
                "testResult": {"testActionOutput": [{"name": "test.xml", "uri": f"file://{path}"}]}}

    def assert_counts(self, last_line):
        result = subprocess.run([sys.executable, SCRIPT, self.folder], capture_output=True,
                                text=True, check=False)
        self.assertEqual(result.stdout.splitlines()[-1:], [last_line], result.stdout + result.stderr)
        self.assertEqual(result.returncode, 0 if " 0 failed" in last_line else 1)

    def test_passed(self):
        self.run_of([self.summary("//a"), self.summary("//b", "FLAKY")], ["//a", "//b"])
        self.assert_counts("2 passed, 0 failed")

    def test_failed_and_timed_out(self):
        self.run_of([self.summary("//a"), self.summary("//b", "FAILED"),
                     self.summary("//c", "TIMEOUT")], ["//a", "//b", "//c"], status=3)
        self.assert_counts("1 passed, 2 failed")

    def test_not_built(self):
        completed = {"id": {"targetCompleted": {"label": "//b"}}, "completed": {}}
        self.run_of([self.summary("//a"), completed], ["//a", "//b"], status=1)
        self.assert_counts("1 passed, 1 failed")

    def test_something_that_is_no_test_does_not_build(self):
        self.run_of([self.summary("//a")], ["//a"], status=1)
        self.assert_counts("1 passed, 1 failed")

    def test_does_not_fit_the_machine(self):
        for aborted in ({}, {"reason": "SKIPPED"}):
            event = {"id": {"targetCompleted": {"label": "//gpu"}}, "aborted": aborted}
            self.run_of([self.summary("//a"), event], ["//a", "//gpu"])
            self.assert_counts("1 passed, 0 failed, 1 skipped")

    def test_aborted_for_another_reason_failed(self):
        event = {"id": {"targetCompleted": {"label": "//b"}},
                 "aborted": {"reason": "ANALYSIS_FAILURE"}}
        self.run_of([self.summary("//a"), event], ["//a", "//b"], status=1)
        self.assert_counts("1 passed, 1 failed")

    def test_all_cases_skipped_is_no_pass(self):
        self.run_of([self.report("//a", "skipped", "skipped"), self.summary("//a"),
                     self.summary("//b")], ["//a", "//b"])
        self.assert_counts("1 passed, 0 failed, 1 skipped")

    def test_single_skipped_cases_are_told(self):
        self.run_of([self.report("//a", "completed", "skipped", "skipped"), self.summary("//a")],
                    ["//a"])
        self.assert_counts("1 passed, 0 failed, 2 skipped")

    def test_no_test_ran(self):
        self.run_of([], [], status=0)
        self.assert_counts("0 passed, 1 failed")

    def test_bazel_gave_up(self):
        self.write("plain.status", "2\n")
        self.assert_counts("0 passed, 1 failed")

    def test_nothing_at_all(self):
        self.assert_counts("0 passed, 1 failed")

    def test_excluded_by_tag_is_not_counted(self):
        self.run_of([self.summary("//a")], ["//a"], others="//slow\n")
        self.assert_counts("1 passed, 0 failed")

    def test_runs_and_fuzzers_add_up(self):
        self.run_of([self.summary("//a")], ["//a"])
        self.run_of([self.summary("//a", "FAILED")], ["//a"], status=3, name="sanitizers")
        self.write("fuzz.passed", "//x\n//y\n")
        self.write("fuzz.failed", "//z\n")
        self.write("fuzz.skipped", "//w\n")
        self.assert_counts("3 passed, 2 failed, 1 skipped")


if __name__ == "__main__":
    unittest.main()
