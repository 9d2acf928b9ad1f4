#!/usr/bin/env python3
"""--show tokenizer: what it reports against independent programs, and what it refuses."""

import json
import os
import pathlib
import sys
import time
import xml.dom.minidom

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import program  # pylint: disable=wrong-import-position

GOLDEN = pathlib.Path("tests/golden").resolve()
TRAINED = json.loads((GOLDEN / "bpe_trainer/golden.json").read_text())  # the first: LICENSE


class TokenizerTest(program.TestCase):

    def show(self, *args):
        return program.report("--show", "tokenizer", *args)["shown"]["tokenizer"]

    def license(self):
        path = self.folder / "license.txt"
        path.write_text(TRAINED[0]["text"])
        return path

    def test_the_ids_are_those_of_hugging_face(self):
        for entry in json.loads((GOLDEN / "smollm2_tokens.json").read_text())[:12]:
            # There, special tokens are recognized; empty texts and zero bytes are refused here.
            if not entry["text"] or "<|" in entry["text"] or "\0" in entry["text"]:
                continue
            shown = self.show("--text", entry["text"])
            self.assertEqual(shown["merges"]["ids"], entry["ids"])
            self.assertTrue(shown["merges"]["round_trip"])
            words = shown["merges"]["words"]
            self.assertEqual("".join(word["word"] for word in words), entry["text"])
            self.assertEqual([i for word in words for i in word["ids"]], entry["ids"])

    def test_training_finds_what_hugging_face_finds(self):
        trained = self.show("--train", self.license(), "--text", "the Work")["trained"]
        self.assertEqual([merge[:2] for merge in trained["merges"]], TRAINED[0]["merges"])
        self.assertEqual(trained["vocab_size"], 512)
        self.assertTrue(trained["round_trip"])

    def test_sentencepiece_is_googles(self):
        model = GOLDEN / "sentencepiece/tokenizer.model"
        for entry in json.loads((GOLDEN / "sentencepiece/golden.json").read_text())[8:20]:
            if "<" in entry["text"]:  # control symbols
                continue
            shown = self.show("--sentencepiece", model, "--text", entry["text"])["sentencepiece"]
            self.assertEqual([piece["id"] for piece in shown["pieces"]], entry["ids"])

    def test_pictures(self):
        self.show("--text", "<unbelievable> & \"quoted\" 🚀", "--svg", self.folder)
        xml.dom.minidom.parse(str(self.folder / "tokenizer_languages.svg"))  # well-formed
        picture = xml.dom.minidom.parse(str(self.folder / "tokenizer_merges.svg"))
        tokens = [(float(text.getAttribute("y")), float(text.getAttribute("x")), text.firstChild.data)
                  for text in picture.getElementsByTagName("text")
                  if text.getAttribute("class") == "token"]
        bottom = max(y for y, _, _ in tokens)
        leaves = "".join(letter for y, _, letter in sorted(tokens) if y == bottom)
        self.assertTrue(leaves.startswith("unbelievable"), leaves)  # the bytes from left to right
        self.assertIn("belie", [letter for _, _, letter in tokens])

    def test_bad_input(self):
        def file(name, content):
            (self.folder / name).write_bytes(content)
            return self.folder / name

        empty = file("empty.txt", b"")
        binary = file("binary", b"\x7fELF\xff\xfe")
        zeros = file("zeros", b"text\0text")
        huge = file("huge.txt", b"")
        os.truncate(huge, 1 << 30)  # sparse
        good = self.license()
        cases = [
            (["--train", empty], "is empty"), (["--train", binary], "not valid UTF-8"),
            (["--train", zeros], "byte 4 is zero"), (["--train", huge], "1073741824 bytes"),
            (["--train", self.folder / "none.txt"], "cannot open"),
            (["--train", self.folder], "not a regular file"),
            (["--file", empty], "is empty"), (["--file", binary], "not valid UTF-8"),
            (["--file", huge], "1073741824 bytes"), (["--text", "a" * 20000], "20000 bytes"),
            (["--sentencepiece", good], "license.txt"), (["--sentencepiece", empty], "empty.txt"),
            (["--svg", good / "folder"], "folder"),
        ] + [(["--train", good, "--vocab-size", n], "--vocab-size" if n < 0 else "256")
             for n in (-1, 0, 255, 1 << 20)]
        for args, words in cases:
            with self.subTest(args=[str(arg)[:60] for arg in args]):
                start = time.monotonic()
                result = program.run("--show", "tokenizer", *args)
                self.assertEqual(result.code, 2, result.stderr)
                self.assertRegex(result.stderr, r"\Aerror: [^\n]+\n\Z")
                self.assertIn(words, result.stderr)
                self.assertLess(time.monotonic() - start, 20)


if __name__ == "__main__":
    program.main()
