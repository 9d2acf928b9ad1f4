#!/usr/bin/env python3
"""//lessons:compare and //benchmarks:bench_lesson_NN: compare_test.py [LESSON=PROGRAM ...]

Most cases run small programs that write reports in place of lessons; the last, given programs, runs
the lessons themselves on a tiny checkpoint.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path.cwd()
COMPARE = ROOT / "tools/compare/compare.py"
BENCH = ROOT / "benchmarks/bench_lesson.py"
PROGRAMS = dict(argument.split("=", 1) for argument in sys.argv[1:])
TINY = ROOT / "tests/golden/tiny/llama_tied"
sys.path.insert(0, str(ROOT / "tools/compare"))
import measure  # pylint: disable=wrong-import-position
import peer  # pylint: disable=wrong-import-position

# A lesson: writes its name and flags to a log, then does what `behave` says, given the number of
# earlier calls and `report(tok_s, tokens, dtype, **more of the run)`.
FAKE = """#!%(python)s
import json, os, sys, time
folder, name = os.path.split(os.path.abspath(__file__))
log = os.path.join(folder, "log.txt")
calls = sum(line.startswith(name + " ") for line in open(log)) if os.path.exists(log) else 0
open(log, "a").write(name + " " + " ".join(sys.argv[1:]) + "\\n")

def report(tok_s=10.0, tokens=(5, 6, 7), dtype="f32", checks=(), **more):
    run = {"name": "after", "backend": "cpu", "dtype": dtype, "ttft_ms": 100.0,
           "tpot_ms": 1e3 / tok_s, "prefill_tok_s": 50.0, "decode_tok_s": tok_s,
           "output_tok_s": 0.8 * tok_s,
           "bytes_per_token": 1000000, "gb_s": tok_s / 1e3, "roofline_fraction": tok_s / 100,
           "peak_bytes": 50000000,
           "outputs": [{"prompt_ids": [1, 2], "tokens": list(tokens), "text": "",
                        "min_margin": 0.25, "finish_reason": "max_tokens"}], **more}
    print(json.dumps({"schema": 1, "machine": {"threads": 2}, "model": {}, "checks": list(checks),
                      "runs": [{**run, "name": "before", "decode_tok_s": tok_s / 2}, run]}))

%(behave)s
"""


class CompareTest(unittest.TestCase):

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        (self.folder / "programs").mkdir()
        (self.folder / "model.gguf").touch()

    def fake(self, name, behave):
        path = self.folder / "programs" / name
        path.write_text(FAKE % {"python": sys.executable, "behave": behave})
        path.chmod(0o755)

    def run_tool(self, *flags, tool=COMPARE, model=True, programs=True):
        standard = [f"--json={self.folder / 'out.json'}", "--backend=cpu"]
        standard += [f"--html={self.folder / 'out.html'}"] if tool == COMPARE else []
        standard += [f"--programs={self.folder / 'programs'}"] if programs else []
        standard += [f"--model={self.folder / 'model.gguf'}"] if model else []
        return subprocess.run([sys.executable, str(tool), *standard, *flags], capture_output=True,
                              text=True, timeout=300, check=False,
                              env={**os.environ, "HOME": "/none"})

    def run_compare(self, *flags, status=0, **options):
        run = self.run_tool("--no-peers", *flags, **options)
        self.assertEqual(run.returncode, status, run.stderr + run.stdout)
        self.assertNotIn("Traceback", run.stderr)
        return run, json.loads((self.folder / "out.json").read_text())

    def log(self):
        return (self.folder / "programs" / "log.txt").read_text().splitlines()

    def entries(self, result):
        return {entry["name"]: entry for entry in result["workloads"][0]["entries"]}

    def test_medians_ratios_and_spread(self):
        self.fake("02_running_an_llm", "report([10, 12, 11][calls])")
        self.fake("03_cuda_kernels", "report([33, 10, 22][calls])")
        run, result = self.run_compare("--rounds=3")
        second, third = self.entries(result).values()
        self.assertEqual(second["decode_tok_s"], {"median": 11, "min": 10, "max": 12})
        self.assertEqual(third["decode_tok_s"], {"median": 22, "min": 10, "max": 33})
        self.assertEqual(third["times_lesson_before"], 2)
        self.assertEqual([r["decode_tok_s"] for r in third["runs"]], [33, 10, 22])
        self.assertEqual(third["tokens"] | {"detail": ""},
                         {"same": 9, "of": 9, "exact": True, "ok": True, "detail": ""})
        line = next(line for line in run.stdout.splitlines() if line.startswith("03_"))
        self.assertEqual(line.split()[1:], "cpu f32 yes 0.25 100 45.5 50.0 22.0 (10.0..33.0) 17.6 "
                                           "2.00x 22% 50.0".split())

    def test_a_slower_lesson_shows(self):
        self.fake("02_running_an_llm", "report(20)")
        self.fake("03_cuda_kernels", "report(5)")
        run, _ = self.run_compare("--rounds=1")
        self.assertIn(" 0.250x ", run.stdout)

    def test_a_batch_is_compared_by_all_its_answers(self):
        # Each answer comes more slowly, and more of them in the same time.
        self.fake("04_kv_cache", "report(20)")
        self.fake("05_batching", "report(10, output_tok_s=48.0)")
        _, result = self.run_compare("--rounds=1")
        self.assertEqual(self.entries(result)["05_batching"]["times_lesson_before"], 48 / 16)

    def test_order_turns_round_and_each_run_is_its_own_process(self):
        for name in ("02_a", "03_b", "04_c"):
            self.fake(name, "report()")
        _, result = self.run_compare("--rounds=3")
        forth = ["02_a", "03_b", "04_c"]
        self.assertEqual(result["workloads"][0]["order"], [forth, forth[::-1], forth])
        self.assertEqual([line.split()[0] for line in self.log()], forth + forth[::-1] + forth)

    def test_other_tokens_in_f32_fail(self):
        self.fake("02_running_an_llm", "report()")
        self.fake("03_cuda_kernels", "report(tokens=(5, 9, 7) if calls == 1 else (5, 6, 7))")
        run, result = self.run_compare("--rounds=2", status=1)
        self.assertIn("03_cuda_kernels: other tokens: round 2, prompt 1, token 2: 9 where "
                      "02_running_an_llm has 6", run.stdout)
        self.assertEqual(self.entries(result)["03_cuda_kernels"]["tokens"]["same"], 3 + 1)

    def test_fewer_tokens_in_f32_fail(self):
        self.fake("02_running_an_llm", "report()")
        self.fake("03_cuda_kernels", "report(tokens=(5, 6))")
        run, _ = self.run_compare("--rounds=1", status=1)
        self.assertIn("token 3: the end where 02_running_an_llm has 7", run.stdout)

    def test_other_prompt_ids_fail(self):
        self.fake("02_running_an_llm", "report()")
        self.fake("03_cuda_kernels",
                  "report(outputs=[{'prompt_ids': [1, 3], 'tokens': [5, 6, 7]}])")
        run, _ = self.run_compare("--rounds=1", status=1)
        self.assertIn("other prompt ids", run.stdout)

    def test_a_reference_that_contradicts_itself_fails(self):
        self.fake("02_running_an_llm", "report(tokens=(5, 6, 7 + calls))")
        self.run_compare("--rounds=2", status=1)

    def test_other_tokens_in_bf16_are_counted(self):
        self.fake("02_running_an_llm", "report()")
        self.fake("03_cuda_kernels", "report(tokens=(5, 9, 7), dtype='bf16')")
        run, result = self.run_compare("--rounds=1", "--dtype=bf16")
        self.assertIn(" 1 of 3 ", run.stdout)
        self.assertFalse(self.entries(result)["03_cuda_kernels"]["tokens"]["exact"])
        # Lesson 02 has one lane only.
        self.assertEqual(["--dtype=bf16" in line for line in self.log()], [False, True])

    def test_what_goes_wrong_is_said_and_the_rest_runs(self):
        for behave, said in {
                "os.kill(os.getpid(), 11)": "was ended by SIGSEGV: it said nothing",
                "time.sleep(600)": "did not end within 9 s (--timeout)",
                "print('what is this?')": "wrote no report but something else",
                "print('{}')": "wrote a report that cannot be used: no \"schema\": 1",
                "report(decode_tok_s='fast')": "decode_tok_s is no number",
                "report(decode_tok_s=float('nan'))": "decode_tok_s is no number",
                "report(outputs=[{'prompt_ids': [1], 'tokens': ['a']}])": "tokens are no token ids",
                "print('error: no such model', file=sys.stderr); sys.exit(2)":
                    "refused: no such model",
                "print('internal error: x', file=sys.stderr); sys.exit(1)":
                    "ended with exit status 1: internal error: x",
                "report(checks=[{'name': 'same', 'ok': False, 'detail': '1 of 2'}]); sys.exit(1)":
                    "its own check failed: same (1 of 2)",
        }.items():
            with self.subTest(behave=behave):
                self.fake("02_running_an_llm", "report()")
                self.fake("03_cuda_kernels", behave)
                self.fake("04_kv_cache", "report(30)")
                timeout = ["--timeout=9"] if "sleep" in behave else []
                run, result = self.run_compare("--rounds=2", *timeout, status=1)
                self.assertIn("03_cuda_kernels: ", run.stdout)
                self.assertIn(said, run.stdout)
                self.assertEqual(len(self.entries(result)["04_kv_cache"]["runs"]), 2)

    def test_a_program_that_cannot_start(self):
        self.fake("02_running_an_llm", "report()")
        broken = self.folder / "programs" / "03_cuda_kernels"
        broken.write_text("#!/nowhere/python\n")
        broken.chmod(0o755)
        run, _ = self.run_compare("--rounds=1", status=1)
        self.assertIn("03_cuda_kernels: could not be started: No such file", run.stdout)

    def test_random_weights(self):
        self.fake("02_running_an_llm", "report(tokens=(5, 6, 7, 8))")
        self.fake("04_kv_cache", "report(tokens=range(5, 5 + 9))")
        _, result = self.run_compare(
            "--rounds=1", "--random-weights=llama-1b", "--prompt-tokens=40", "--max-new-tokens=9",
            "--threads=3", model=False)
        second, fourth = self.log()
        for line in (second, fourth):
            self.assertIn("--random-weights=llama-1b", line)
            self.assertIn("--ignore-eos --threads=3", line)
        self.assertIn("--max-new-tokens=4 ", second)  # it has no cache
        self.assertIn("--max-new-tokens=9 ", fourth)
        self.assertIn("--backend=cpu", fourth)
        # What both wrote is the same.
        self.assertTrue(self.entries(result)["04_kv_cache"]["tokens"]["ok"])
        self.assertEqual(self.entries(result)["04_kv_cache"]["tokens"]["of"], 4)

    def test_json_is_complete(self):
        self.fake("02_running_an_llm", "report()")
        (self.folder / "COMMIT").write_text("123456789abc+\n")
        _, result = self.run_compare("--rounds=2", "--threads=2")
        self.assertEqual(result["commit"], "123456789abc+")
        self.assertEqual(set(result["machine"]) - {"gpu", "driver"}, {"cpu", "cores", "memory_gib"})
        # What was asked for, without where things lie on this machine.
        self.assertEqual(
            result["command"], "./run.sh compare --backend=cpu --model=model.gguf --no-peers "
            "--rounds=2 --threads=2, in the archive of //tools:gpu_bundle")
        entry = self.entries(result)["02_running_an_llm"]
        self.assertEqual(set(entry["runs"][0]), set(measure.METRICS))
        self.assertEqual(entry["outputs"][0]["tokens"], [5, 6, 7])
        self.assertEqual(len(result["load_average"]), 2)

    def test_keep_and_read(self):
        self.fake("02_running_an_llm", "report()")
        self.run_compare("--rounds=1", "--random-weights=llama-1b", model=False)
        _, result = self.run_compare("--rounds=1", "--random-weights=llama-8b", "--keep",
                                     model=False)
        self.assertEqual([w["name"] for w in result["workloads"]], ["llama-1b", "llama-8b"])
        run = self.run_tool(f"--read={self.folder / 'out.json'}")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("llama-1b", run.stdout)

    def test_page_needs_nothing_else(self):
        self.fake("02_running_an_llm", "report()")
        self.fake("03_<b>", "print('<script>error</script>', file=sys.stderr); sys.exit(2)")
        self.run_compare("--rounds=1", status=1)
        html = (self.folder / "out.html").read_text()
        self.assertNotRegex(html, r"(?i)https?:|<script|<link|<img|src=|@import|url\(|<b>")
        self.assertEqual(html.count("<figure>"), 7)
        self.assertIn("02_running_an_llm", html)
        self.assertIn("refused: &lt;script&gt;", html)

    def test_bad_flags_are_one_sentence(self):
        self.fake("02_running_an_llm", "report()")
        (self.folder / "bad.json").write_text("{")
        for tool in (COMPARE, BENCH):
            for flags, said in {
                    ("--rounds=0",): "must be at least 1, not 0",
                    ("--rounds=many",): "many",
                    ("--no-such-flag",): "--no-such-flag",
                    ("--backend=abacus",): "abacus",
                    ("--prompts=nowhere.json",): "No such file",
                    (f"--prompts={self.folder / 'bad.json'}",): "bad.json",
                    ("--model=nowhere.gguf",): "there is no such file",
                    ("--random-weights=llama-1b",): "exclude each other",
                    ("--programs=/nowhere",): "there is no such folder",
                    ("--peer-python=/nowhere/python",): "there is no such program",
                    ("--json=/nowhere/out.json",): "cannot be written",
            }.items():
                with self.subTest(tool=tool.name, flags=flags):
                    run = self.run_tool(*flags, tool=tool)
                    self.assertEqual(run.returncode, 2, run.stderr)
                    self.assertRegex(run.stderr, r"^error: [^\n]*\n$")
                    self.assertIn(said, run.stderr)
        for flags in (["--lessons=09"], ["--read=/nowhere"], ["--html=/nowhere/a"]):
            run = self.run_tool(*flags)
            self.assertEqual((run.returncode, run.stderr.count("\n")), (2, 1), run.stderr)
        self.assertFalse((self.folder / "programs" / "log.txt").exists(), "something ran")

    def test_peers_that_are_not_there_are_named(self):
        self.fake("02_running_an_llm", "report()")
        run = self.run_tool("--rounds=1", f"--peer-python={self.python_without_anything()}")
        self.assertEqual(run.returncode, 0, run.stderr)
        for name in ("llama.cpp", "transformers eager", "transformers compile"):
            self.assertRegex(run.stdout, rf"{name}: not (installed|run): ")

    def python_without_anything(self):
        path = self.folder / "python"
        path.write_text(f"#!/bin/sh\nexec {sys.executable} -S \"$@\"\n")
        path.chmod(0o755)
        return path

    def test_a_peer_gets_the_lessons_ids_and_may_fail(self):
        """A Python that says it has every module, and in a peer's place writes a report."""
        self.fake("02_running_an_llm", "report(8)")
        script = self.folder / "python"
        script.write_text("#!/bin/sh\n[ \"$1\" = -c ] && exit 0\n"
                          "case \"$*\" in *eager*) echo 'error: no memory' >&2; exit 2;; esac\n"
                          f"exec {self.folder}/programs/peer \"$@\"\n")
        script.chmod(0o755)
        self.fake("peer", "path = [a[10:] for a in sys.argv if '--prompts=' in a][0]\n"
                          "ids = json.load(open(path))\n"
                          "assert ids == [{'ids': [1, 2], 'new_tokens': 3}], ids\n"
                          "report(4, tokens=(5, 6, 8), roofline_fraction=None)")
        run = self.run_tool("--rounds=1", f"--peer-python={script}")
        self.assertEqual(run.returncode, 0, run.stderr)
        result = json.loads((self.folder / "out.json").read_text())
        entry = self.entries(result)["llama.cpp"]
        self.assertEqual(entry["tokens"]["same"], 2)  # agreement; a peer is not held to it
        self.assertAlmostEqual(entry["roofline_fraction"]["median"], 0.04)
        self.assertIn("transformers eager: refused: no memory", run.stdout)

    def test_bench_lesson(self):
        self.fake("04_kv_cache", "report([10, 12, 11][calls])")
        run = self.run_tool("--rounds=3", "--no-peers", tool=BENCH)
        self.assertEqual(run.returncode, 0, run.stderr)
        before, after = json.loads((self.folder / "out.json").read_text())["rows"]
        self.assertEqual(before["decode_tok_s"]["median"], 5.5)
        self.assertEqual(after["decode_tok_s"]["median"], 11)
        self.assertRegex(run.stdout, r"(?m)^after .* 11.0 \(10.0..12.0\) +100 +11% ")

    def test_tied_embeddings_are_seen_from_the_number_of_parameters(self):
        shape = {"d_model": 8, "head_dim": 4, "n_heads": 2, "n_kv_heads": 1, "n_layers": 3,
                 "d_ff": 16, "vocab_size": 100}
        layers = 3 * (8 * 4 * 6 + 3 * 8 * 16 + 2 * 8) + 8
        self.assertTrue(peer.tied(shape | {"parameters": layers + 800}))
        self.assertFalse(peer.tied(shape | {"parameters": layers + 1600}))

    @unittest.skipUnless(PROGRAMS, "given no lessons")
    def test_the_lessons_themselves(self):
        prompts = self.folder / "prompts.json"
        prompts.write_text("[[1, 2, 3, 4, 5], [9, 8, 7]]")
        lessons = [f"--lesson={name}={path}" for name, path in PROGRAMS.items()]
        _, result = self.run_compare(
            "--rounds=2", f"--model={TINY}", f"--prompts={prompts}", "--max-new-tokens=6",
            "--dtype=f32", "--threads=2", *lessons, model=False, programs=False)
        entries = self.entries(result)
        self.assertEqual(list(entries), list(PROGRAMS))
        for entry in entries.values():
            self.assertEqual(entry["tokens"], {"same": 24, "of": 24, "exact": True, "ok": True,
                                               "detail": ""})
            self.assertGreater(entry["decode_tok_s"]["median"], 0)
            self.assertGreater(entry["output_tok_s"]["median"], 0)
            self.assertGreater(entry["roofline_fraction"]["median"], 0)
            self.assertGreater(entry["peak_bytes"]["median"], 1e6)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
