#!/usr/bin/env python3
"""Lesson 00's predictions: lesson_test.py LESSON_00 LESSON_02

against a run of lesson 02, against the same figures worked out here, and with bad input."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

LESSON_00, LESSON_02 = (pathlib.Path(path).resolve() for path in sys.argv[1:3])
FOLDER = tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR"))
ENVIRONMENT = {**os.environ, "XDG_CACHE_HOME": FOLDER}


def run(program, *flags):
    return subprocess.run([program, *flags], capture_output=True, text=True, check=False,
                          env=ENVIRONMENT, cwd=FOLDER)


def report(*flags):
    result = run(LESSON_00, "--json", "-", *flags)
    if result.returncode != 0:
        raise AssertionError(result.stderr)
    return json.loads(result.stdout)


class BesideLesson02(unittest.TestCase):
    def test_bytes_agree_and_the_speed_stays_below_the_ceiling(self):
        flags = ["--prompt", "Why is the sky blue?", "--max-new-tokens", "8", "--json", "-"]
        measured = run(LESSON_02, *flags)
        self.assertEqual(measured.returncode, 0, measured.stderr)
        measured = json.loads(measured.stdout)
        after = measured["runs"][-1]
        # The workload that lesson 00 has in mind.
        self.assertEqual(len(after["outputs"][0]["prompt_ids"]), 36)

        predicted = report("--on", "cpu")
        lesson = predicted["devices"][0]["lessons"][0]
        self.assertTrue(lesson["lesson"].startswith("02"))
        self.assertAlmostEqual(lesson["weight_bytes_per_token"] / after["bytes_per_token"], 1, delta=0.1)
        self.assertLessEqual(after["decode_tok_s"], lesson["ceiling_tokens_s"])
        self.assertGreater(lesson["ceiling_tokens_s"], 0)
        self.assertEqual(predicted["model"]["parameters"], measured["model"]["parameters"])
        self.assertEqual(predicted["model"]["bytes"], measured["model"]["bytes"])


class WorkedOutHere(unittest.TestCase):
    """Llama 3.1 8B on an H200, by its config and the data sheet."""

    def test_llama_8b_on_an_h200(self):
        layer = 2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 14336 * 4096
        table, norms = 128256 * 4096, 65 * 4096
        r = report("--shape", "llama-8b", "--machine", "h200", "--context", "1000", "--prompt-tokens", "700")
        self.assertIsNone(r["machine"])
        self.assertEqual(r["model"]["parameters"], 32 * layer + 2 * table + norms)
        [device] = r["devices"]
        self.assertFalse(device["measured"])
        self.assertEqual(device["kv_bytes_per_token"], 131072)

        rows = {row["batch"]: row for row in device["decode"]}
        self.assertEqual(sorted(rows), [1, 2, 4, 8, 16, 32, 64, 128, 256])
        for batch, row in rows.items():
            n_bytes = 2 * (32 * layer + table + norms) + batch * (2 * 4096 + 131072 * 1000)
            flops = batch * (2 * (32 * layer + table) + 4 * 32 * 4096 * 1000)
            self.assertAlmostEqual((row["weight_bytes"] + row["kv_bytes"]) / n_bytes, 1, 9)
            self.assertAlmostEqual(row["flops"] / flops, 1, 9)
            self.assertAlmostEqual(row["seconds"] / max(n_bytes / 4.8e12, flops / 989e12), 1, 9)
            self.assertEqual(row["bound_by"], "memory" if n_bytes / 4.8e12 > flops / 989e12 else "arithmetic")
            self.assertAlmostEqual(row["tokens_s"] * row["seconds"] / batch, 1, 9)

        flops = 2 * 32 * layer * 700 + 2 * table + 4 * 32 * 4096 * 700 * 701 / 2
        self.assertAlmostEqual(device["prefill"]["flops"] / flops, 1, 9)
        self.assertEqual(device["prefill"]["bound_by"], "arithmetic")
        # Without a cache the 64 tokens after 36 compute 36 + 37 + ... + 99 positions.
        lesson_03 = device["lessons"][0]
        flops = sum(2 * 32 * layer * n + 2 * table + 4 * 32 * 4096 * n * (n + 1) / 2
                    for n in range(36, 100)) / 64
        self.assertAlmostEqual(lesson_03["flops_per_token"] / flops, 1, 9)
        parallel = device["lessons"][-1]
        self.assertTrue(parallel["lesson"].startswith("07"))
        self.assertAlmostEqual(parallel["weight_bytes_per_token"] * 8 / (2 * (32 * layer + table + norms + 4096)),
                               1, 9)

    def test_a_70b_model_does_not_fit_one_gpu_in_16_bits_and_does_in_4(self):
        [device] = report("--shape", "llama-70b", "--machine", "h100")["devices"]
        self.assertFalse(device["fit"]["weights_fit"])
        self.assertFalse(any(row["fits"] for row in device["decode"]))
        [device] = report("--shape", "llama-70b", "--machine", "h100", "--weights", "q4_0")["devices"]
        self.assertTrue(device["fit"]["weights_fit"])
        self.assertAlmostEqual(device["weight_bytes"] / 39.7e9, 1, 2)


class WhatItWrites(unittest.TestCase):
    def test_the_second_run_finds_what_the_first_measured(self):
        first, second = (report()["machine"] for _ in range(2))
        self.assertEqual(first, second)
        self.assertIn("kept in " + FOLDER, run(LESSON_00).stdout)
        self.assertIn("measured now", run(LESSON_00, "--probe-again").stdout)

    def test_damaged_files_are_measured_again(self):
        run(LESSON_00)
        for path in pathlib.Path(FOLDER, "aios").iterdir():
            path.write_text('{"schema": 1,')
        result = run(LESSON_00)
        self.assertEqual(result.returncode, 0)
        self.assertIn("measured now, since what was kept cannot be used", result.stdout)

    def test_the_picture_is_xml_with_a_point_for_each_step(self):
        svg = pathlib.Path(FOLDER, "roofline.svg")
        result = run(LESSON_00, "--shape", "llama-1b", "--machine", "a100", "--svg", str(svg))
        self.assertEqual(result.returncode, 0, result.stderr)
        root = xml.etree.ElementTree.parse(svg).getroot()
        space = "{http://www.w3.org/2000/svg}"
        self.assertEqual(len(root.findall(space + "circle")), 5)
        width, height = float(root.get("width")), float(root.get("height"))
        for circle in root.findall(space + "circle"):
            self.assertTrue(0 < float(circle.get("cx")) < width and 0 < float(circle.get("cy")) < height)
        self.assertIn("NVIDIA A100", "".join(root.itertext()))

    def test_standard_output_has_only_the_report_if_it_goes_there(self):
        result = run(LESSON_00, "--shape", "llama-1b", "--machine", "l4", "--json", "-")
        json.loads(result.stdout)
        self.assertIn("ridge", result.stderr)


class BadInput(unittest.TestCase):
    def check(self, words, *flags):
        result = run(LESSON_00, *flags)
        self.assertEqual(result.returncode, 2, (flags, result.stderr))
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)

    def test_each_is_a_sentence(self):
        self.check(["'llama-9b'", "llama-8b", "smollm2-135m"], "--shape", "llama-9b")
        self.check(["no/such/model.gguf"], "--model", "no/such/model.gguf")
        self.check(["exclude"], "--model", "x", "--shape", "llama-8b")
        self.check(["--context"], "--context", "0")
        self.check(["--context"], "--context", "-5")
        self.check(["--context"], "--context", "99999999999999999999")
        self.check(["--context 200000", "131072"], "--shape", "llama-8b", "--context", "200000")
        self.check(["--prompt-tokens"], "--prompt-tokens", "0")
        self.check(["--prompt-tokens 8193", "8192"], "--shape", "smollm2-135m", "--prompt-tokens", "8193")
        self.check(["'h300'", "h200", "laptop"], "--machine", "h300")
        self.check(["--on"], "--machine", "h200", "--on", "gpu")
        self.check(["'q3'", "Q4_0"], "--weights", "q3")
        self.check(["576", "Q4_K"], "--weights", "q4_k", "--shape", "smollm2-135m")
        self.check(["--svg", "cannot write"], "--svg", "/no/such/folder/x.svg")
        self.check(["--json", "cannot write"], "--json", "/no/such/folder/x.json")
        self.check(["--json"], "--json", "")
        self.check(["--threads"], "--threads", "0")
        self.check(["--shape"], "--shape", "")

    def test_a_gpu_that_is_not_there(self):
        environment = {**ENVIRONMENT, "CUDA_VISIBLE_DEVICES": ""}
        result = subprocess.run([LESSON_00, "--on", "gpu"], capture_output=True, text=True, check=False,
                                env=environment, cwd=FOLDER)
        self.assertEqual(result.returncode, 2)
        self.assertIn("--machine h200", result.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
