#!/usr/bin/env python3
"""Lesson 05 as a person runs it: whatever is scheduled how, the tokens are those of independent
programs; its views show what happened; planted faults are found; bad input is a sentence."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

PROGRAM = os.path.abspath("lessons/05_batching/05_batching")
TINY = pathlib.Path("tests/golden/tiny").resolve()
FAMILIES = ("llama3_scaled", "llama_tied", "mistral", "qwen2", "qwen3")
MODES = ("one at a time", "static batches", "continuous", "continuous, chunked")
FOLDER = tempfile.mkdtemp()


def run(*args):
    return subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, check=False,
                          timeout=800, env={**os.environ, "XDG_CACHE_HOME": FOLDER})


def have_gpu():
    return pathlib.Path("/dev/nvidia0").exists()


def golden(family):
    return json.loads((TINY / family / "golden.json").read_text())


def report(*args, status=0):
    result = run(*args, "--json", "-")
    if result.returncode != status:
        raise AssertionError(f"{args}: exit code {result.returncode}\n{result.stderr}")
    return json.loads(result.stdout)


def written(requests):
    """A trace in a file."""
    path = pathlib.Path(tempfile.mkstemp(suffix=".json", dir=FOLDER)[1])
    path.write_text(requests if isinstance(requests, str) else json.dumps(requests))
    return path


def request(arrival=0, prompt=20, output=4, **more):
    return {"arrival": arrival, "prompt_tokens": prompt, "output_tokens": output, **more}


class TokensTest(unittest.TestCase):

    def check(self, *args):
        scale = () if "--time-scale" in args else ("--time-scale", 0.1)
        found = report("--backend", "cpu", *args, *scale)
        self.assertEqual([r["name"] for r in found["runs"]], ["before", "after"])
        self.assertEqual(len(found["checks"]), 3)
        self.assertTrue(all(check["ok"] for check in found["checks"]), found["checks"])
        return found

    def test_prompts_get_the_tokens_of_transformers(self):
        for family in FAMILIES:
            expected = golden(family)
            prompts = written([expected["prompt"], expected["prompt"][:9], expected["prompt"]])
            for flags in ((), ("--chunk", 1), ("--chunk", 7, "--page-size", 8)):
                with self.subTest(family=family, flags=flags):
                    found = self.check("--model", TINY / family, "--prompts", prompts,
                                       "--max-new-tokens", len(expected["greedy"]), "--ignore-eos",
                                       *flags)
                    for r in found["runs"]:
                        self.assertEqual(r["outputs"][0]["tokens"], expected["greedy"])
                        self.assertEqual(r["outputs"][2]["tokens"], expected["greedy"])
                        self.assertEqual(len(r["outputs"][1]["token_ms"]), len(expected["greedy"]))

    def test_the_trace_under_all_ways_of_scheduling(self):
        for flags in (("--policy", "priority"), ("--policy", "shortest-remaining"),
                      ("--policy", "fair-share"), ("--max-seqs", 1), ("--max-seqs", 64),
                      ("--chunk", 1), ("--chunk", 512), ("--overlap", "on"), ("--overlap", "off"),
                      ("--time-scale", 0), ("--patience", 0)):
            with self.subTest(flags=flags):
                found = self.check("--model", TINY / "llama_tied", *flags)
                self.assertEqual([len(o["tokens"]) for o in found["runs"][1]["outputs"]],
                                 [r["output_tokens"] for r in TRACE])
                self.assertEqual([len(o["prompt_ids"]) for o in found["runs"][1]["outputs"]],
                                 [r["prompt_tokens"] for r in TRACE])

    def test_too_few_pages_for_all(self):
        for flags in (("--preemption", "recompute"), ("--preemption", "swap"),
                      ("--preemption", "swap", "--swap-memory", "20kB"),
                      ("--policy", "priority"), ("--overlap", "on")):
            with self.subTest(flags=flags):
                found = self.check("--model", TINY / "llama_tied", "--page-size", 4,
                                   "--context", 272, "--kv-memory", 80 * 4 * 512, "--time-scale", 0,
                                   *flags)
                self.assertGreater(found["figures"]["continuous_chunked_preemptions"], 0)
                self.assertEqual(found["figures"]["one_at_a_time_preemptions"], 0)
                self.assertLessEqual(found["figures"]["continuous_chunked_pages"], 80)

    def test_drawn_by_a_seed(self):
        prompts = written([[1, 2, 3], [1, 2, 3], [4]])
        found = self.check("--model", TINY / "llama_tied", "--prompts", prompts, "--temperature", 1,
                           "--seed", 5, "--max-new-tokens", 12, "--ignore-eos")
        self.assertEqual(*([o["tokens"] for o in r["outputs"]] for r in found["runs"]))

    def test_on_the_gpu(self):
        if not have_gpu():
            self.skipTest("no NVIDIA GPU here")
        for flags in (("--dtype", "f32"), ("--dtype", "bf16", "--deterministic"),
                      ("--dtype", "bf16")):
            found = report("--model", TINY / "llama_tied", "--backend", "cuda", *flags)
            self.assertTrue(all(check["ok"] for check in found["checks"]), found["checks"])


class ReportTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.found = report("--model", TINY / "llama_tied", "--backend", "cpu")

    def test_throughput_is_of_all_answers_by_the_clock(self):
        n_tokens = sum(r["output_tokens"] for r in TRACE)
        for r in self.found["runs"]:
            self.assertAlmostEqual(r["output_tok_s"] * r["wall_seconds"], n_tokens, 3)
            self.assertGreaterEqual(r["wall_seconds"], TRACE[-1]["arrival"])
        before, after = (r["output_tok_s"] for r in self.found["runs"])
        moved = self.found["moved"]
        self.assertEqual((moved["before"], moved["after"]), (before, after))

    def test_first_tokens_are_counted_from_arrivals(self):
        # All of them wait for those before them; so the last one's is the time of nearly all.
        found = report("--model", TINY / "llama_tied", "--backend", "cpu", "--time-scale", 0)
        before = found["runs"][0]
        firsts = [o["token_ms"][0] for o in before["outputs"]]
        self.assertEqual(firsts, sorted(firsts))
        rest = sum(before["outputs"][-1]["token_ms"][1:])
        self.assertLess(firsts[-1] + rest, 1e3 * before["wall_seconds"] + 1)
        self.assertGreater(firsts[-1] + rest, 0.9e3 * before["wall_seconds"])

    def test_figures_of_every_mode(self):
        for mode in ("one_at_a_time", "static_batches", "continuous", "continuous_chunked"):
            for name in ("tok_s", "ttft_ms_p50", "ttft_ms_p95", "ttft_ms_p99", "gap_ms_p50",
                         "gap_ms_p95", "gap_ms_p99", "rows", "seqs", "pages", "preemptions"):
                self.assertIn(f"{mode}_{name}", self.found["figures"])
        self.assertEqual(self.found["figures"]["one_at_a_time_seqs"], 1)


class FaultTest(unittest.TestCase):
    """A planted bug fails one check, as a real one would, and no other."""

    def failed(self, fault, *flags):
        found = report("--model", TINY / "llama_tied", "--backend", "cpu", "--fault", fault, *flags,
                       status=1)
        return [check["name"] for check in found["checks"] if not check["ok"]]

    def test_stale_prefix(self):
        self.assertEqual(self.failed("stale-prefix"),
                         ["every request has the tokens of its run alone"])

    def test_leaked_page(self):
        self.assertEqual(self.failed("leaked-page"), ["all pages are back"])
        result = run("--model", TINY / "llama_tied", "--backend", "cpu", "--fault", "leaked-page",
                     "--top")
        # vmstat's line at each run's end: nobody is there, and pages are used nevertheless.
        ends = re.findall(r"0 waiting, 0 prefilling, 0 running, 0 preempted.*\n.* (\d+) used",
                          result.stdout)
        self.assertEqual(ends[0], "0")
        self.assertNotEqual(ends[-1], "0")

    def test_starvation(self):
        self.assertEqual(self.failed("starvation", "--time-scale", 0, "--patience", 0.0005),
                         ["nobody is passed over who has waited for 0.0005 s"])


class ViewsTest(unittest.TestCase):

    def test_files(self):
        svg, trace = (pathlib.Path(FOLDER, name) for name in ("gantt.svg", "events.json"))
        result = run("--model", TINY / "qwen3", "--backend", "cpu", "--svg", svg,
                     "--trace-events", trace)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        root = xml.etree.ElementTree.parse(svg).getroot()
        texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
        for mode in MODES:
            self.assertIn(mode, texts)
        events = json.loads(trace.read_text())["traceEvents"]
        self.assertEqual([e["args"]["name"] for e in events if e["name"] == "process_name"],
                         list(MODES))
        self.assertEqual(sum(e["name"] == "token" for e in events),
                         4 * sum(r["output_tokens"] for r in TRACE))

    def test_chart_and_table(self):
        result = run("--model", TINY / "qwen3", "--backend", "cpu")
        bars = re.findall(r"^ +[a-z]+ +(\d+) \|([ .#=x]{72})\|$", result.stdout, re.M)
        self.assertEqual([int(i) for i, _ in bars], 2 * list(range(len(TRACE))))
        for _, bar in bars:
            self.assertRegex(bar, r"^ *\.*#*=* *$")
        for mode in MODES:
            self.assertRegex(result.stdout, rf"(?m)^{mode} +\d+\.\d( +\d+(\.\d)?){{6}} ")

    def test_top_in_a_file_has_no_escapes(self):
        result = run("--model", TINY / "qwen3", "--backend", "cpu", "--top")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertNotIn("\033", result.stdout)
        for mode in MODES:
            self.assertIn(f" s, {mode}; requests: ", result.stdout)
        self.assertRegex(result.stdout,
                         r"(?m)^ +\d+\.\d{3}  step \d+ +finished\(15, ann\) = 52 tokens")

    def test_answers_of_prompts_are_not_shown_where_there_is_no_tokenizer(self):
        result = run("--model", TINY / "qwen3", "--prompt-ids", "1", "--max-new-tokens", 1)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertNotIn("nan", result.stdout)


class SimulationTest(unittest.TestCase):

    def simulate(self, *flags):
        result = run("--simulate", "--backend", "cpu", *flags)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        policies = "first-come|priority|shortest-remaining|fair-share"
        rows = re.findall(rf"(?m)^({policies}) +([\d.]+) +(.*)$", result.stdout)
        self.assertEqual(len(rows), 4, result.stdout)
        return {name: [float(rate), *map(float, rest.replace("%", "").split()[:9])]
                for name, rate, rest in rows}

    def test_what_policies_are_for(self):
        rows = self.simulate("--model", TINY / "llama_tied")
        p50, urgent, others = 1, 3, 5
        self.assertLess(rows["priority"][urgent], rows["first-come"][urgent] / 2)
        self.assertLess(rows["shortest-remaining"][p50], rows["first-come"][p50])
        self.assertLess(rows["fair-share"][others], rows["first-come"][others] / 2)
        # The work is the same.
        rates = [row[0] for row in rows.values()]
        self.assertLess(max(rates) / min(rates), 1.05)

    def test_a_trace(self):
        rows = self.simulate("--model", TINY / "llama_tied", "--trace",
                             written([request(user="a"), request(user="b", prompt=999, output=1)]),
                             "--kv-memory", "100kB", "--page-size", 16)
        self.assertTrue(all(row[6] == 0 for row in rows.values()), rows)  # nobody waited

    def test_pages_that_are_too_few(self):
        rows = self.simulate("--model", TINY / "llama_tied", "--simulated-requests", 300,
                             "--kv-memory", "1MB", "--page-size", 16)
        self.assertTrue(all(row[8] > 0 for row in rows.values()), rows)  # preemptions


class BadInputTest(unittest.TestCase):

    def refused(self, *args, words=()):
        with self.subTest(args=args):
            result = run("--model", TINY / "llama_tied", "--backend", "cpu", *args)
            self.assertEqual(result.returncode, 2, result.stderr + result.stdout)
            self.assertRegex(result.stderr, r"\Aerror: [^\n]+\n\Z")
            self.assertNotIn("one at a time  ", result.stdout)
            for word in words:
                self.assertIn(word, result.stderr)

    def test_traces(self):
        for trace, words in (
                ("no json", (".json",)),
                ("{}", ("array",)),
                ("[]", ("no request",)),
                ([request(1), request(0.5)], ("request 1", "sort")),
                ([request(0), request(-1)], ("request 1", "arrival")),
                ([request(prompt=0)], ("request 0", "prompt_tokens")),
                ([request(output=0)], ("request 0", "output_tokens")),
                ([request(output=1 << 40)], ("request 0", "output_tokens")),
                ([request(nice=3)], ("nice",)),
                ([request(), request(prompt=500, output=13)], ("request 1", "500", "512")),
                ([request(user=3)], ("user",)),
                (f"[{json.dumps(request())}" * 3, (".json",))):
            path = written(trace)
            self.refused("--trace", path, words=words)
        self.refused("--trace", "/no/such/trace.json", words=("/no/such/trace.json",))
        self.refused("--trace", FOLDER, words=(FOLDER,))
        self.refused("--trace", written([request()]), "--prompt-ids", "1",
                     words=("--trace", "excludes"))
        self.refused("--simulate", "--trace", written("[]"), words=("no request",))

    def test_what_does_not_fit(self):
        self.refused("--context", 100, words=("request 0", "96", "100", "--context"))
        self.refused("--kv-memory", "100kB", "--page-size", 16, words=("request", "--kv-memory"))
        self.refused("--prompt-ids", "1,2,3", "--context", 3, words=("3 and an answer of 1", "3"))

    def test_flags(self):
        for flag, values in {
                "--policy": ("", "round-robin"), "--max-seqs": ("0", "-1", "x", "5000"),
                "--chunk": ("0", "-3", "x"), "--patience": ("-1", "nan", "inf", "x", ""),
                "--time-scale": ("-1", "nan", "inf", "x", ""), "--preemption": ("", "kill"),
                "--overlap": ("maybe", ""), "--fault": ("", "bug"), "--trace": ("",),
                "--svg": ("",), "--trace-events": ("",),
                "--simulated-requests": ("0", "x")}.items():
            for value in values:
                self.refused(f"{flag}={value}", words=(flag.strip("-"),))
        self.refused("--swap-memory", "1GB", words=("--preemption swap",))
        self.refused("--preemption", "swap", "--swap-memory", "x", words=("--swap-memory",))
        self.refused("--svg", "/no/such/folder/x.svg", words=("--svg", "cannot write"))
        self.refused("--trace-events", "/no/such/folder/x.json", words=("--trace-events",))
        self.refused("--simulate", "--page-size", 0, words=("--page-size",))
        self.refused("--simulate", "--kv-memory", 10, words=("--kv-memory", "page"))


TRACE = None


def setUpModule():
    global TRACE  # pylint: disable=global-statement
    TRACE = json.loads(pathlib.Path("lessons/05_batching/trace.json").read_text())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
