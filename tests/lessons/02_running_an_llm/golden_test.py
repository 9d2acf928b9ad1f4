#!/usr/bin/env python3
"""The program from its flags to its report: the tokens and scores of independent programs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import program  # pylint: disable=wrong-import-position

TOLERANCE = 2e-3
# These golden scores have RoPE's frequencies rounded to bf16 in them, which no file asks for: see
# tests/common/model/reference_test.cc.
TOLERANCE_BF16 = 8e-3

# In the README, and in every later lesson.
FLAGS = ["--model", "--random-weights", "--backend", "--dtype", "--threads", "--prompt",
         "--prompts", "--prompt-ids", "--raw", "--chat", "--max-new-tokens", "--ignore-eos",
         "--stop", "--temperature", "--top-k", "--top-p", "--min-p", "--seed", "--top-logits",
         "--json", "--help"]


def after(report):
    """The run of the whole answer."""
    before, run = report["runs"]
    assert (before["name"], run["name"]) == ("before", "after")
    return run


def output(report):
    (only,) = after(report)["outputs"]
    return only


class TinyTest(program.TestCase):
    """Checkpoints of every family, by transformers."""

    def test_golden_tokens(self):
        for name in program.FAMILIES:
            with self.subTest(name):
                golden = program.golden(program.TINY / name / "golden.json")
                tolerance = TOLERANCE_BF16 if name == "llama_bf16" else TOLERANCE
                result = output(program.report(
                    "--model", program.TINY / name, "--prompt-ids", program.ids(golden["prompt"]),
                    "--max-new-tokens", 32, "--ignore-eos", "--top-logits", 5))
                self.assertEqual(result["prompt_ids"], golden["prompt"])
                self.assertEqual(result["tokens"], golden["greedy"])
                self.assertEqual(result["finish_reason"], "max_tokens")
                self.assertEqual(result["text"], "")
                self.assertAlmostEqual(result["min_margin"], min(golden["margins"]),
                                       delta=2 * tolerance)
                self.assertEqual(len(result["steps"]), 32)
                for step, token, margin in zip(result["steps"], result["tokens"],
                                               golden["margins"]):
                    self.assertEqual(len(step["top"]), 5)
                    self.assertEqual(step["top"][0][0], token)
                    self.assertAlmostEqual(step["top"][0][1] - step["top"][1][1], margin,
                                           delta=2 * tolerance)
                first = result["steps"][0]
                self.assertAlmostEqual(first["lse"], golden["logsumexp_per_position"][-1],
                                       delta=tolerance)
                for token, logit in first["top"]:
                    self.assertAlmostEqual(logit, golden["last_logits"][token], delta=tolerance)

    def test_end_tokens_end_an_answer(self):
        golden = program.golden(program.TINY / "llama_tied/golden.json")
        folder = self.folder / "model"
        shutil.copytree(program.TINY / "llama_tied", folder, copy_function=shutil.copyfile)
        end = golden["greedy"][5]
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [end]}))
        args = ["--model", folder, "--prompt-ids", program.ids(golden["prompt"]),
                "--max-new-tokens", 32]
        result = output(program.report(*args))
        self.assertEqual(result["finish_reason"], "end_token")
        self.assertEqual(result["tokens"], golden["greedy"][:golden["greedy"].index(end) + 1])
        self.assertEqual(output(program.report(*args, "--ignore-eos"))["tokens"],
                         golden["greedy"])

    def test_the_context_ends_an_answer(self):
        args = ["--model", program.TINY / "llama_tied", "--prompt-ids", program.ids([7] * 509)]
        result = output(program.report(*args))
        self.assertEqual(result["finish_reason"], "context_full")
        self.assertEqual(len(result["tokens"]), 3)

    def test_a_seed_draws_the_same_tokens_each_time(self):
        def draw(seed, *more):
            return output(program.report(
                "--model", program.TINY / "qwen2", "--prompt-ids", "1,2,3", "--ignore-eos",
                "--max-new-tokens", 16, "--temperature", 2, "--seed", seed, *more))["tokens"]
        tokens = draw(7)
        self.assertEqual(draw(7), tokens)
        self.assertEqual(draw(7, "--threads", 1), tokens)
        self.assertNotEqual(draw(8), tokens)
        self.assertNotEqual(draw(7, "--top-k", 2), tokens)

    def test_a_vocabulary_longer_than_the_tokenizers(self):
        # Padding, as Qwen has it: 480 pieces, 512 tokens. Both prompt and answer have such tokens.
        folder = self.folder / "model"
        shutil.copytree(program.TINY / "mistral", folder, copy_function=shutil.copyfile)
        shutil.copyfile(program.SENTENCEPIECE / "tokenizer.model", folder / "tokenizer.model")
        golden = program.golden(folder / "golden.json")
        self.assertGreaterEqual(max(golden["greedy"]), 480)
        result = output(program.report("--model", folder, "--ignore-eos", "--prompt-ids",
                                       program.ids(golden["prompt"]), "--max-new-tokens", 32))
        self.assertEqual(result["tokens"], golden["greedy"])
        self.assertNotEqual(result["text"], "")

    def test_the_report_is_the_same_in_a_file(self):
        path = self.write("report.json", "an older and much longer report" * 1000)
        args = ["--model", program.TINY / "qwen3", "--prompt-ids", "1,2,3", "--max-new-tokens", 4]
        result = program.run(*args, "--json", path)
        self.assertEqual((result.code, result.stderr), (0, ""))
        self.assertIn("tokens: ", result.stdout)
        outputs = [output(program.golden(path)), output(program.report(*args))]
        for each in outputs:
            self.assertEqual(len(each.pop("token_ms")), 4)  # measured
        self.assertEqual(*outputs)

    def test_figures_follow_from_each_other(self):
        report = program.report("--model", program.TINY / "llama_tied", "--prompt-ids", "1,2,3",
                                "--max-new-tokens", 20, "--ignore-eos")
        run = after(report)
        self.assertEqual(report["schema"], 1)
        self.assertEqual(report["lesson"], "02_running_an_llm")
        self.assertAlmostEqual(run["tpot_ms"] * run["decode_tok_s"], 1000, places=6)
        self.assertAlmostEqual(run["ttft_ms"] * run["prefill_tok_s"], 3000, places=6)
        self.assertEqual(run["bytes_per_token"], 4 * report["model"]["parameters"])
        self.assertAlmostEqual(run["gb_s"] / report["machine"]["read_gb_s"],
                               run["roofline_fraction"])
        self.assertGreater(run["peak_bytes"], run["bytes_per_token"])
        self.assertEqual(report["moved"]["after"], 20)
        self.assertTrue(all(check["ok"] for check in report["checks"]))

    def test_one_token(self):
        report = program.report("--model", program.TINY / "llama_tied", "--prompt-ids", "1,2,3",
                                "--max-new-tokens", 1)
        self.assertEqual(len(output(report)["tokens"]), 1)
        self.assertEqual(after(report)["decode_tok_s"], 0)
        self.assertEqual(after(report)["tpot_ms"], 0)

    def test_prompts_from_every_flag_and_a_file(self):
        path = self.write("prompts.json", "[[1, 2], [3]]")
        report = program.report("--model", program.TINY / "llama_tied", "--prompt-ids", "4,5",
                                "--prompts", path, "--max-new-tokens", 2)
        self.assertEqual([o["prompt_ids"] for o in after(report)["outputs"]],
                         [[1, 2], [3], [4, 5]])


class DefaultModelTest(program.TestCase):
    """SmolLM2, by numpy on exactly dequantized weights."""

    GOLDEN = program.golden("tests/golden/smollm2.json")

    def assert_golden(self, result, golden):
        self.assertEqual(result["prompt_ids"], golden["prompt"])
        self.assertEqual(result["tokens"], golden["greedy"])
        self.assertEqual(len(result["steps"]), len(golden["steps"]))
        for step, expected in zip(result["steps"], golden["steps"]):
            self.assertAlmostEqual(step["lse"], expected["lse"], delta=TOLERANCE)
            scores = dict(map(tuple, step["top"]))
            self.assertEqual(set(scores), {token for token, _ in expected["top"]})
            for token, logit in expected["top"]:
                self.assertAlmostEqual(scores[token], logit, delta=TOLERANCE)

    def test_chat(self):
        result = program.run("--prompt", "Why is the sky blue?", "--top-logits", 5, "--json", "-")
        self.assertEqual(result.code, 0)
        # Nothing but JSON on standard output; what people read is on the other.
        answer = output(json.loads(result.stdout))
        self.assert_golden(answer, self.GOLDEN["sky"])
        self.assertEqual(answer["finish_reason"], "max_tokens")
        self.assertIn("> Why is the sky blue?\n" + answer["text"], result.stderr)
        self.assertIn("Rayleigh scattering", answer["text"])

    def test_raw(self):
        answer = output(program.report("--raw", "--prompt", "The capital of France is",
                                       "--top-logits", 5))
        self.assert_golden(answer, self.GOLDEN["france"])
        self.assertEqual(answer["finish_reason"], "end_token")
        self.assertTrue(answer["text"].startswith(" Paris."), answer["text"])
        self.assertNotIn("<|im_end|>", answer["text"])

    def test_stop_string(self):
        result = program.run("--raw", "--prompt", "The capital of France is", "--stop", ".")
        self.assertEqual((result.code, result.stderr), (0, ""))
        self.assertIn("\n> The capital of France is\n Paris\n", result.stdout)

    def test_several_prompts(self):
        report = program.report("--raw", "--prompt", self.GOLDEN["france"]["text"], "--prompt",
                                self.GOLDEN["count"]["text"], "--max-new-tokens", 2)
        for run, n_tokens in zip(report["runs"], (1, 2)):
            self.assertEqual([o["tokens"] for o in run["outputs"]],
                             [self.GOLDEN[name]["greedy"][:n_tokens]
                              for name in ("france", "count")])

    def test_ctrl_c_prints_what_it_has_and_the_figures(self):
        path = self.folder / "report.json"
        with subprocess.Popen(
                [program.PROGRAM, "--raw", "--prompt", "Once upon a time", "--ignore-eos",
                 "--max-new-tokens", "5000", "--json", str(path)],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            shown = b""
            while b"\n> Once upon a time\n" not in shown or shown.count(b" ") < 3:
                shown += process.stdout.read1()
            process.send_signal(signal.SIGINT)
            start = time.monotonic()
            rest, errors = process.communicate(timeout=program.TIMEOUT)
        # It ended as it was asked to, after the token at hand: no error, and not 130.
        self.assertEqual((process.returncode, errors), (0, b""))
        self.assertLess(time.monotonic() - start, program.TIMEOUT / 4)
        for word in (b"after ", b"first token after", b"moved "):
            self.assertIn(word, rest)
        answer = output(program.golden(path))
        self.assertEqual(answer["finish_reason"], "interrupted")
        self.assertLess(len(answer["tokens"]), 1000)
        self.assertIn(answer["text"].encode(), shown + rest)


class HelpTest(program.TestCase):

    def test_names_every_flag(self):
        result = program.run("--help")
        self.assertEqual((result.code, result.stderr), (0, ""))
        for flag in FLAGS:
            self.assertRegex(result.stdout, rf"(^|[ ,]){flag}\b")


if __name__ == "__main__":
    program.main()
