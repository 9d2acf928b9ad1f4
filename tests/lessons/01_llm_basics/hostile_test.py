#!/usr/bin/env python3
"""What people and files can do wrong: the program says it in one sentence and exits 2."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import program  # pylint: disable=wrong-import-position


class HostileTest(program.TestCase):

    def assert_refused(self, args, *words):
        with self.subTest(args=[str(arg)[:100] for arg in args]):
            result = program.run(*args)
            self.assertEqual(result.code, 2, result.stderr)
            self.assertRegex(result.stderr, r"\Aerror: [^\n]+\n\Z")
            for word in words:
                self.assertIn(word, result.stderr)

    def test_a_layer_or_head_that_is_not_there(self):
        model = ["--model", self.tiny("mistral"), "--text", "Hello"]
        for more in ([], ["--show", "attention"], ["--show", "rope"]):
            self.assert_refused([*model, *more, "--layer", 2], "--layer 2", "layers 0 to 1")
            self.assert_refused([*model, *more, "--head", 4], "--head 4", "heads 0 to 3")
        self.assert_refused([*model, "--layer", -1], "--layer")
        self.assert_refused([*model, "--head", "x"], "--head")
        self.assert_refused([*model, "--layer", 1 << 40], "--layer")
        # The default model.
        self.assert_refused(["--show", "attention", "--layer", 30], "layers 0 to 29")
        self.assert_refused(["--show", "attention", "--head", 9], "heads 0 to 8")

    def test_a_part_that_is_not_there(self):
        self.assert_refused(["--show", "softmax"], "--show", "attention")
        self.assert_refused(["--show", ""], "--show")
        self.assert_refused(["--show"], "--show")

    def test_an_empty_text(self):
        model = ["--model", self.tiny("mistral")]
        self.assert_refused([*model, "--text", ""], "--text", "empty")
        empty = self.folder / "empty.txt"
        empty.write_text("")
        self.assert_refused([*model, "--file", empty], "empty")

    def test_a_text_that_is_too_long(self):
        model = ["--model", self.tiny("mistral")]
        self.assert_refused([*model, "--text", "qx" * 200], "tokens", "256 at most")
        self.assert_refused([*model, "--text", "a" * 100000], "100000 bytes", "256 tokens")
        self.assert_refused(["--text", "x y " * 200], "tokens", "256 at most")
        path = self.folder / "long.txt"
        path.write_text("a" * (2 << 20))
        self.assert_refused([*model, "--file", path], "long.txt")

    def test_a_text_longer_than_the_models_context(self):
        model = self.tiny("mistral")
        config = model / "config.json"
        config.write_text(config.read_text().replace('"max_position_embeddings": 512',
                                                     '"max_position_embeddings": 8'))
        self.assert_refused(["--model", model, "--text", "Hello world"], "10 tokens",
                            "the model's context holds 8 at most")

    def test_a_text_that_is_none(self):
        model = ["--model", self.tiny("mistral")]
        self.assert_refused([*model, "--text", b"\xff\xfe".decode("utf-8", "surrogateescape")],
                            "UTF-8")
        self.assert_refused([*model, "--file", self.folder / "missing.txt"], "missing.txt")
        self.assert_refused([*model, "--file", self.folder], str(self.folder))
        self.assert_refused([*model, "--text", "a", "--file", "b"], "--file", "--text")

    def test_a_model_without_a_tokenizer(self):
        self.assert_refused(["--model", self.tiny("llama_tied", tokenizer=False)], "no tokenizer",
                            "llama_tied")

    def test_a_tokenizer_larger_than_the_model(self):
        # 480 pieces; the texts' ids are above 256.
        model = self.tiny("mistral")
        config = model / "config.json"
        config.write_text(config.read_text().replace('"vocab_size": 512', '"vocab_size": 300'))
        self.assert_refused(["--model", model, "--text", "Hello"], "300")

    def test_a_model_that_is_none(self):
        self.assert_refused(["--model", self.folder / "missing"], "missing")
        self.assert_refused(["--model", ""], "--model")
        broken = self.folder / "broken.gguf"
        broken.write_bytes(b"GGUF" + b"\xff" * 100)
        self.assert_refused(["--model", broken], "broken.gguf")

    def test_files_that_cannot_be_written(self):
        model = ["--model", self.tiny("mistral"), "--text", "Hello"]
        nowhere = self.folder / "no/such/folder"
        self.assert_refused([*model, "--json", nowhere], "--json", "cannot write")
        self.assert_refused([*model, "--svg", f"{nowhere}.svg"], "--svg", "cannot write")
        self.assert_refused([*model, "--show", "attention", "--show", "tokenizer",
                             "--svg", self.folder / "one.svg"], "--svg", "folder")

    def test_flags(self):
        self.assert_refused(["--nonsense"], "--nonsense", "--help")
        self.assert_refused(["stray"], "stray")
        self.assert_refused(["--threads", 0], "--threads")
        self.assert_refused(["--threads", 100000], "--threads")
        self.assert_refused(["--nonsense\nerror: \x1b[31mfake"], "\\x0aerror: \\x1b[31mfake")


if __name__ == "__main__":
    program.main()
