#!/usr/bin/env python3
"""Tests what stands around the graders: stubs, mutants, :start, the runner, progress.

Needs no Bazel: it plays the reader in folders of its own, with programs that misbehave in each way
that a reader's may.
"""

import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, "tools/exercises")
import make_stub  # pylint: disable=wrong-import-position
import mutate  # pylint: disable=wrong-import-position
import progress  # pylint: disable=wrong-import-position
import run_check  # pylint: disable=wrong-import-position
import start  # pylint: disable=wrong-import-position

MISBEHAVE = os.path.abspath(sys.argv[1])


class TempFolder(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def program(self, script):
        """A program of these lines of shell."""
        path = self.folder / f"program{len(list(self.folder.iterdir()))}"
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    def misbehave(self, how):
        """misbehave.cc, a grader's main() with a reader's mistake."""
        return self.program(f"exec {MISBEHAVE} {how}\n")


class StubTest(unittest.TestCase):

    def test_the_solution_is_left_out(self):
        text = ("a\n  // BEGIN SOLUTION\n  // STUB: return {};\n  secret\n  // END SOLUTION\nb\n"
                "// BEGIN SOLUTION\nmore\n// END SOLUTION\n")
        self.assertEqual(
            make_stub.make_stub(text, "rope", "lessons/01"),
            "a\n  // TODO: your code.\n"
            "  // What it must do: rope.h. The idea: lessons/01/README.md.\n  return {};\nb\n"
            "// TODO: your code.\n")

    def test_markers_that_do_not_match_are_an_error(self):
        for text, complaint in (("a\n", "no // BEGIN"), ("// BEGIN SOLUTION\n", "without // END"),
                                ("// END SOLUTION\n", "without // BEGIN"),
                                ("// BEGIN SOLUTION\n// BEGIN SOLUTION\n", "inside")):
            with self.subTest(text=text), self.assertRaisesRegex(ValueError, complaint):
                make_stub.make_stub(text, "a", "b")

    def test_a_mutation_must_apply_once(self):
        self.assertEqual(mutate.mutate("a b", "b", "c"), "a c")
        for text in ("a", "b b"):
            with self.assertRaises(ValueError):
                mutate.mutate(text, "b", "c")


class RunnerTest(TempFolder):

    def test_passes(self):
        self.assertEqual(run_check.grade(self.misbehave("not")).state, "passes")

    def test_fails_with_its_hint(self):
        verdict = run_check.grade(self.misbehave("wrong"))
        self.assertEqual((verdict.state, verdict.hint), ("fails", "is it the sum?"))
        self.assertIn("should be [1, 2]\nyours is  [1, 3]", verdict.text)
        self.assertIn("at case: the first case", verdict.text)

    def test_crashes_name_signal_and_case(self):
        for how, signal, hint in (("segfault", "SIGSEGV", "index out of range"),
                                  ("past_the_end", "SIGSEGV", "index out of range"),
                                  ("recursion", "SIGSEGV", "calls itself"),
                                  ("divide", "SIGFPE", "divided by zero"),
                                  ("throw", "SIGABRT", "an exception that nobody catches"),
                                  ("memory", "SIGABRT", "too much memory")):
            with self.subTest(how=how):
                verdict = run_check.grade(self.misbehave(how))
                self.assertEqual(verdict.state, "crashes", verdict.text)
                self.assertIn(f"crashed with {signal}", verdict.hint)
                self.assertIn(hint, verdict.hint)
                self.assertIn("At the case: the first case\n", verdict.text)

    def test_what_was_printed_before_a_crash_is_shown(self):
        self.assertIn("debugging", run_check.grade(self.misbehave("segfault")).text)

    def test_endless_loop(self):
        for how in ("loop", "loop_deaf"):  # deaf: to SIGTERM too
            with self.subTest(how=how):
                begin = time.monotonic()
                verdict = run_check.grade(self.misbehave(how), time_limit=0.5)
                self.assertLess(time.monotonic() - begin, 5)
                self.assertEqual(verdict.state, "loops")
                self.assertIn("does it loop forever", verdict.hint)
                if how == "loop":
                    self.assertIn("At the case: the first case\n", verdict.text)

    def test_flood(self):
        begin = time.monotonic()
        verdict = run_check.grade(self.misbehave("flood"))
        self.assertLess(time.monotonic() - begin, 5)
        self.assertEqual(verdict.state, "floods")
        self.assertIn("print in a loop", verdict.hint)
        self.assertLess(len(verdict.text), 2000)

    def test_children_are_ended_too(self):
        parent = self.program(f"sleep 60 &\necho $! >{self.folder}/child\nwait\n")
        verdict = run_check.grade(parent, time_limit=0.5)
        self.assertEqual(verdict.state, "loops")
        time.sleep(0.1)
        child = (self.folder / "child").read_text().strip()
        state = pathlib.Path(f"/proc/{child}/stat")
        self.assertTrue(not state.exists() or ") Z " in state.read_text())

    def test_leaving_early_is_not_passing(self):
        for how in ("exit", "exit_1"):
            verdict = run_check.grade(self.misbehave(how))
            self.assertEqual(verdict.state, "fails")
            self.assertIn("does it call exit()", verdict.hint)

    def test_sanitizers_speak_for_themselves(self):
        for said in ("==1==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x1",
                     "rope.cc:12:3: runtime error: shift exponent 40 is too large"):
            verdict = run_check.grade(self.program(f"echo '{said}'\nexit 1\n"))
            self.assertEqual(verdict.state, "crashes")
            self.assertTrue(said.endswith(verdict.hint), verdict.hint)

    def test_exit_status_and_text(self):
        for how, status in (("not", 0), ("wrong", 1)):
            command = [sys.executable, "tools/exercises/run_check.py", "sums", self.misbehave(how)]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            self.assertEqual(run.returncode, status)
            self.assertTrue(run.stdout.startswith("sums: "))


class StartTest(TempFolder):

    def setUp(self):
        super().setUp()
        self.workspace = self.folder / "workspace"
        self.workspace.mkdir()
        self.files = []
        for name in ("first.h", "first.cc", "second.h", "second.cc"):
            path = self.folder / name
            path.write_text(f"// {name} of the lesson\n")
            self.files.append(path)
        self.work = self.workspace / "exercises" / "04_x"

    def start(self):
        return start.start(self.workspace, "04_x", self.files)

    def snapshot(self):
        return {path.name: path.read_bytes() for path in self.work.iterdir()}

    def test_copies_everything_and_says_what_to_do(self):
        said = self.start()
        self.assertEqual(sorted(self.snapshot()),
                         ["BUILD", "first.cc", "first.h", "second.cc", "second.h"])
        self.assertEqual((self.work / "first.cc").read_text(), "// first.cc of the lesson\n")
        self.assertIn("./bazelw test //exercises/04_x:first_check", said)
        build = (self.work / "BUILD").read_text()
        self.assertIn('exercises = [\n        "first",\n        "second",\n    ]', build)
        self.assertIn('lesson = "//lessons/04_x"', build)

    def test_again_changes_nothing(self):
        self.start()
        before = self.snapshot()
        said = self.start()
        self.assertEqual(self.snapshot(), before)
        self.assertNotIn("yours", said)

    def test_work_is_never_overwritten(self):
        self.start()
        for name in ("first.cc", "second.h", "BUILD"):
            (self.work / name).write_text(f"mine: {name}")
        (self.work / "notes.txt").write_text("mine")
        (self.work / "second.cc").unlink()
        before = self.snapshot()
        said = self.start()
        after = self.snapshot()
        self.assertEqual(after.pop("second.cc"), b"// second.cc of the lesson\n")
        self.assertEqual(after, before)
        for name in ("first.cc", "second.h", "BUILD"):
            self.assertRegex(said, rf"{name} +left alone: yours")
        self.assertIn("BUILD does not name first, second", said)

    def test_a_link_or_folder_in_the_place_is_left_alone(self):
        self.work.mkdir(parents=True)
        (self.work / "first.cc").symlink_to(self.folder / "nowhere")
        (self.work / "second.cc").mkdir()
        said = self.start()
        self.assertFalse((self.folder / "nowhere").exists())
        self.assertRegex(said, r"first.cc +left alone: yours")
        self.assertRegex(said, r"second.cc +left alone: yours")

    def test_without_bazel_run_it_says_how(self):
        environment = {k: v for k, v in os.environ.items() if k != "BUILD_WORKSPACE_DIRECTORY"}
        command = [sys.executable, "tools/exercises/start.py", "04_x", str(self.files[1])]
        run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        self.assertEqual((run.returncode, run.stdout), (2, ""))
        self.assertIn("./bazelw run //lessons/04_x:start", run.stderr)

    def test_a_file_where_the_folder_should_be(self):
        (self.workspace / "exercises").write_text("")
        command = [sys.executable, "tools/exercises/start.py", "04_x", str(self.files[1])]
        run = subprocess.run(command, capture_output=True, text=True, check=False,
                             env={**os.environ, "BUILD_WORKSPACE_DIRECTORY": str(self.workspace)})
        self.assertEqual(run.returncode, 2)
        self.assertEqual(run.stderr.count("\n"), 1)


class ProgressTest(TempFolder):

    NAMES = ("absent", "stub", "broken", "wrong", "crash", "good")

    def setUp(self):
        super().setUp()
        work = self.folder / "exercises" / "04_x"
        work.mkdir(parents=True)
        lesson = self.folder / "lessons" / "04_x"
        (lesson / "stubs").mkdir(parents=True)
        (lesson / "exercises.txt").write_text("\n".join(self.NAMES) + "\n")
        for name in self.NAMES:
            (lesson / "stubs" / f"{name}.cc").write_text(f"// stub of {name}\n")
            if name != "absent":
                text = f"// stub of {name}\n" if name == "stub" else "// mine\n"
                (work / f"{name}.cc").write_text(text)
        self.exercises = progress.exercises_of([lesson / "exercises.txt"])
        self.built = []

    def build(self, labels):
        self.built += labels
        programs = {"wrong": "wrong", "crash": "segfault", "good": "not"}
        return {f"//exercises/04_x:{name}": self.misbehave(how) for name, how in programs.items()}

    def test_it_tells_the_truth_in_each_state(self):
        said = progress.states(self.folder, self.exercises, self.build)
        self.assertEqual(said[:4], ["not started", "started, still the stub", "does not compile",
                                    "fails: is it the sum?"])
        self.assertRegex(said[4], "^crashes: crashed with SIGSEGV")
        self.assertEqual(said[5], "passes")
        # What a reader has not touched is not built.
        self.assertEqual(self.built, [f"//exercises/04_x:{name}" for name in self.NAMES[2:]])
        report = progress.report(self.exercises, said)
        self.assertIn("04_x: 1 of 6\n  absent  not started\n", report)

    def test_next_step(self):
        one = self.exercises[:1] + self.exercises[-1:]
        for said, what in ((["not started", "passes"], "./bazelw run //lessons/04_x:start"),
                           (["started, still the stub", "passes"], "read exercises/04_x/absent.h"),
                           (["does not compile", "not started"],
                            "./bazelw test //exercises/04_x:absent_check"),
                           (["not started", "fails: x"],
                            "./bazelw test //exercises/04_x:good_check"),
                           (["passes", "fails: x"], "./bazelw test //exercises/04_x:good_check"),
                           (["passes", "passes"], "all exercises pass")):
            self.assertIn(what, progress.next_step(one, said))

    def test_nothing_is_built_for_who_has_not_begun(self):
        def build(labels):
            raise AssertionError(labels)
        self.assertEqual(progress.states(self.folder, self.exercises[:2], build),
                         ["not started", "started, still the stub"])

    def test_build_events(self):
        """As Bazel 4 writes them. What an earlier build left is not taken for this one's."""
        events = [
            {"id": {"namedSet": {"id": "0"}}, "namedSetOfFiles": {"files": [
                {"name": "exercises/x/good", "uri": "file:///out/exercises/x/good"}]}},
            {"id": {"targetCompleted": {"label": "//exercises/x:good"}}, "completed": {
                "success": True, "outputGroup": [{"name": "default", "fileSets": [{"id": "0"}]}]}},
            {"id": {"targetCompleted": {"label": "//exercises/x:broken"}}, "completed": {
                "outputGroup": [{"name": "default", "fileSets": [{"id": "0"}]}]}},
            {"id": {"targetCompleted": {"label": "//exercises/x:gone"}},
             "aborted": {"reason": "ANALYSIS_FAILURE"}},
            {"id": {"pattern": {}}},
        ]
        self.assertEqual(progress.programs_in(json.dumps(event) for event in events),
                         {"//exercises/x:good": "/out/exercises/x/good"})


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
