#!/usr/bin/env python3
"""Lesson 04 as a person runs it: its tokens are those of independent programs, whatever the pages,
and what does not fit is refused with a sentence."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

PROGRAM = os.path.abspath("lessons/04_kv_cache/04_kv_cache")
TINY = pathlib.Path("tests/golden/tiny").resolve()
FAMILIES = ("llama3_scaled", "llama_tied", "mistral", "qwen2", "qwen3")
GB = 10**9


def run(*args, **environment):
    return subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, check=False,
                          timeout=800, env={**os.environ, **environment})


def have_gpu():
    return pathlib.Path("/dev/nvidia0").exists()


def golden(family):
    return json.loads((TINY / family / "golden.json").read_text())


def ids(tokens):
    return ",".join(map(str, tokens))


def report(*args):
    result = run(*args, "--json", "-")
    if result.returncode != 0:
        raise AssertionError(f"{args}: exit code {result.returncode}\n{result.stderr}")
    return json.loads(result.stdout)


class TokensTest(unittest.TestCase):
    """Tiny checkpoints: 40 prompt ids and 32 greedy tokens by transformers."""

    def check(self, family, *args, dtype="f32"):
        expected = golden(family)
        found = report("--model", TINY / family, "--prompt-ids", ids(expected["prompt"]),
                       "--max-new-tokens", len(expected["greedy"]), "--ignore-eos", "--dtype", dtype,
                       *args)
        self.assertEqual([r["name"] for r in found["runs"]], ["before", "after"])
        for r in found["runs"]:
            self.assertEqual(r["outputs"][0]["tokens"], expected["greedy"], (family, args))
            self.assertEqual(len(r["outputs"][0]["token_ms"]), len(expected["greedy"]))
        self.assertEqual(len(found["checks"]), 2)
        self.assertTrue(all(check["ok"] for check in found["checks"]), found["checks"])
        return found

    def test_families(self):
        for family in FAMILIES:
            self.check(family, "--backend", "cpu", "--threads", 2)

    def test_page_sizes(self):
        # 40 tokens and 32: pages that are full at the prompt's end, in the middle, never.
        for page_size in (1, 16, 17, 40, 64, 512):
            found = self.check("qwen2", "--backend", "cpu", "--page-size", page_size)
            figures = found["figures"]
            pages = -(-(40 + 31) // page_size)
            token_bytes = figures["contiguous_reserved_bytes"] / 512
            self.assertEqual(figures["paged_reserved_bytes"], pages * page_size * token_bytes)
            self.assertEqual(figures["paged_used_bytes"], (40 + 31) * token_bytes)
            # Four prompts of 320 ids that share 300: the first is new, of the others whole pages
            # are known.
            self.assertEqual(figures["prefix_tokens"], 4 * 320)
            self.assertEqual(figures["prefix_known_tokens"], 3 * (300 // page_size * page_size))

    def test_on_the_gpu(self):
        if not have_gpu():
            self.skipTest("no NVIDIA GPU here")
        for family in FAMILIES:
            for page_size in (16, 64):
                self.check(family, "--backend", "cuda", "--page-size", page_size)

    def test_a_prompt_that_was_seen_before(self):
        prompt = golden("llama_tied")["prompt"]
        # Another one in between: what it writes must not be where the first one's keys are kept.
        prompts = [prompt, prompt[1:], prompt, prompt[:33] + [5, 6, 7]]
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(prompts, file)
            file.flush()
            found = report("--model", TINY / "llama_tied", "--prompts", file.name, "--page-size", 8,
                           "--backend", "cpu", "--max-new-tokens", 4, "--ignore-eos")
        before, after = ([output["tokens"] for output in r["outputs"]] for r in found["runs"])
        self.assertEqual(before, after)
        self.assertEqual(after[0], golden("llama_tied")["greedy"][:4])
        self.assertEqual(after[2], after[0])
        # None of another beginning; of all 40 the last is computed, and so is its page; 32 of 33.
        self.assertEqual([o["cached_tokens"] for o in found["runs"][1]["outputs"]], [0, 0, 32, 32])
        self.assertEqual([o["cached_tokens"] for o in found["runs"][0]["outputs"]], [0] * 4)
        self.assertTrue(all(check["ok"] for check in found["checks"]))

    def test_drawn_by_a_seed(self):
        found = report("--model", TINY / "llama_tied", "--prompt-ids", "1,2,3", "--temperature", 1,
                       "--seed", 5, "--max-new-tokens", 12, "--ignore-eos", "--backend", "cpu")
        before, after = (r["outputs"][0]["tokens"] for r in found["runs"])
        self.assertEqual(before, after)


class MemoryTest(unittest.TestCase):

    # llama_tied, in f32: what its cache takes is read from the program's own line, once.
    @classmethod
    def setUpClass(cls):
        result = run("--model", TINY / "llama_tied", "--prompt-ids", "1,2,3", "--max-new-tokens", 2,
                     "--backend", "cpu")
        cls.token_bytes = int(re.search(r"^cache +(\d+) bytes a token", result.stdout, re.M)[1])
        config = json.loads((TINY / "llama_tied" / "config.json").read_text())
        head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        assert cls.token_bytes == (2 * config["num_hidden_layers"] * config["num_key_value_heads"] *
                                   head_dim * 4)

    def outputs(self, n_prompt, *args):
        prompt = (golden("llama_tied")["prompt"] * 20)[:n_prompt]
        found = report("--model", TINY / "llama_tied", "--prompt-ids", ids(prompt), "--ignore-eos",
                       "--backend", "cpu", *args)
        return [r["outputs"][0] for r in found["runs"]]

    def test_prompt_and_answer_fill_the_cache_exactly(self):
        memory = ("--kv-memory", 64 * self.token_bytes, "--page-size", 16)
        for n_prompt in (48, 63):
            for output in self.outputs(n_prompt, *memory, "--max-new-tokens", 64 - n_prompt):
                self.assertEqual(len(output["tokens"]), 64 - n_prompt)
            for output in self.outputs(n_prompt, *memory, "--max-new-tokens", 100):
                self.assertEqual(len(output["tokens"]), 64 - n_prompt)
                self.assertEqual(output["finish_reason"], "context_full")

    def test_context(self):
        for output in self.outputs(40, "--context", 50, "--page-size", 16, "--max-new-tokens", 99):
            self.assertEqual((len(output["tokens"]), output["finish_reason"]), (10, "context_full"))
        for output in self.outputs(511, "--max-new-tokens", 100):
            self.assertEqual((len(output["tokens"]), output["finish_reason"]), (1, "context_full"))

    def refused(self, *args, words=()):
        with self.subTest(args=args):
            result = run("--model", TINY / "llama_tied", "--backend", "cpu", "--prompt-ids", "1,2,3",
                         *args)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertRegex(result.stderr, r"\Aerror: [^\n]+\n\Z")
            self.assertNotIn("before", result.stdout)
            for word in words:
                self.assertIn(word, result.stderr)

    def test_page_size(self):
        for size in ("0", "-1", "-9223372036854775808"):
            self.refused(f"--page-size={size}", words=("--page-size",))
        self.refused("--page-size", "513", words=("--page-size 513", "512"))
        self.refused("--page-size", "9223372036854775807", words=("--page-size", "512"))
        for size in ("", "x", "1.5", "9223372036854775808"):
            self.refused(f"--page-size={size}", words=("--page-size",))

    def test_longer_than_the_model_was_made_for(self):
        self.refused("--context", "513", words=("--context 513", "512"))
        for context in ("0", "-1", "", "x", "99999999999999999999"):
            self.refused(f"--context={context}", words=("--context",))

    def test_memory(self):
        page = 64 * self.token_bytes
        self.refused("--kv-memory", page - 1, words=("one page", "64 tokens", "--page-size"))
        self.refused("--kv-memory", 1, "--page-size", 1, words=("one page",))
        self.refused("--kv-memory", "1000000GB", words=("--kv-memory", "free"))
        self.refused("--kv-memory", page, "--context", 65, words=("--context 65", "64 tokens"))
        for memory in ("", "0", "-1", "1GBs", "GB", "nan", "inf", "1e400", "1e30GB", "1 GB x"):
            self.refused(f"--kv-memory={memory}", words=("--kv-memory",))

    def test_prompts_that_leave_no_room(self):
        self.refused("--context", 3, words=("3 tokens", "3"))
        self.refused("--page-size", 1, "--kv-memory", 3 * self.token_bytes, words=("3 tokens",))

    def test_files_and_flags(self):
        self.refused("--svg", "/no/such/folder/x.svg", words=("--svg", "cannot write"))
        self.refused("--svg=", words=("--svg",))
        self.refused("--json", "/no/such/folder/x.json", words=("--json", "cannot write"))
        self.refused("--show", "frames", words=("--show", "pages"))
        self.refused("--nonsense", words=("--nonsense",))


class ShownTest(unittest.TestCase):

    def test_pages(self):
        prompt = golden("llama_tied")["prompt"]
        result = run("--model", TINY / "llama_tied", "--prompt-ids", ids(prompt), "--max-new-tokens",
                     6, "--page-size", 16, "--ignore-eos", "--show", "pages", "--backend", "cpu")
        self.assertEqual(result.returncode, 0, result.stderr)
        # 40 + 5 tokens: two full pages, known, and 13 of a third.
        after = result.stdout.split("cache ")[1].split("time per token")[0]
        lines = re.findall(r"^ +(\d+)-(\d+) +(r..\S) +page ([\d-]+) +(\d+) of (\d+)", after, re.M)
        self.assertEqual([(line[2], line[4], line[5]) for line in lines][-1], ("rwp-", "13", "16"))
        self.assertEqual(sum(int(line[4]) for line in lines), 45)
        # The prompts that begin alike have the same first pages.
        maps = re.findall(r"known; first.*\n +0-(\d+) +r-pk +page (\S+)", result.stdout)
        self.assertEqual(len(maps), 4)
        self.assertEqual(len({pages.split("-")[0] for _, pages in maps}), 1)

    def test_plot_is_xml_with_a_point_for_each_token(self):
        with tempfile.TemporaryDirectory() as folder:
            svg = pathlib.Path(folder, "time.svg")
            result = run("--model", TINY / "qwen3", "--prompt-ids", "1,2,3", "--max-new-tokens", 9,
                         "--ignore-eos", "--svg", svg)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            root = xml.etree.ElementTree.parse(svg).getroot()
        circles = root.findall("{http://www.w3.org/2000/svg}circle")
        self.assertEqual(len(circles), 2 * 8)
        for circle in circles:
            self.assertTrue(0 < float(circle.get("cx")) < 860 and 0 < float(circle.get("cy")) < 430)
        self.assertIn("o before, * after", result.stdout)

    def test_an_answer_of_one_token(self):
        result = run("--model", TINY / "qwen3", "--prompt-ids", "1", "--max-new-tokens", 1)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertNotIn("nan", result.stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
