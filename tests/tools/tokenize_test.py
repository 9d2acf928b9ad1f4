#!/usr/bin/env python3
"""The program //tools:tokenize as a person runs it: tokenize_test.py PROGRAM"""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

PROGRAM = pathlib.Path(sys.argv[1]).resolve()
GOLDEN = pathlib.Path("tests/golden")
SMOLLM2 = "../smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def tokenize(value, *flags):
    """Runs the program on a JSON value, or on a text as it is."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(value if isinstance(value, str) else json.dumps(value))
        file.flush()
        command = [str(PROGRAM), "--input", file.name, *flags]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)


class TokenizeTest(unittest.TestCase):
    def test_golden_texts(self):
        models = {SMOLLM2: GOLDEN / "smollm2_tokens.json"}
        for name in ("gpt2", "llama3", "qwen2"):
            folder = GOLDEN / "tokenizers" / name
            models[str(folder / "tokenizer.json")] = folder / "golden.json"
        for model, golden in models.items():
            with self.subTest(model=model):
                cases = json.loads(golden.read_text())
                run = tokenize([case["text"] for case in cases], "--model", model, "--special")
                self.assertEqual(run.returncode, 0, run.stderr)
                self.assertEqual(json.loads(run.stdout), [case["ids"] for case in cases])

    def test_back(self):
        texts = ["Hello world", " naïve café ", "你好，世界 🙂", ""]
        ids = json.loads(tokenize(texts).stdout)  # with the default model
        self.assertEqual(json.loads(tokenize(ids, "--decode").stdout), texts)

    def test_special_tokens_only_when_asked(self):
        text = ["<|im_end|>"]
        self.assertEqual(json.loads(tokenize(text, "--special").stdout), [[2]])
        self.assertNotIn(2, json.loads(tokenize(text).stdout)[0])

    def test_bad_input(self):
        cases = [
            tokenize("{"),
            tokenize({"a": 1}),
            tokenize([1]),
            tokenize(["x"], "--decode"),
            tokenize([[49152]], "--decode"),
            tokenize([[-1]], "--decode"),
            tokenize(["x"], "--model", "nowhere.gguf"),
            tokenize(["x"], "--nonsense"),
        ]
        for run in cases:
            with self.subTest(command=run.args):
                self.assertEqual(run.returncode, 2)
                self.assertEqual(run.stdout, "")
                self.assertRegex(run.stderr, r"\Aerror: [^\n]+\n\Z")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
