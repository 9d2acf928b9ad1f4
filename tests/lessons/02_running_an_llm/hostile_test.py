#!/usr/bin/env python3
"""What people and files can do wrong: the program says it in one sentence and exits 2, at once.

At once is measured as time of the CPU, so that a busy machine does not matter.
"""

import os
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import program  # pylint: disable=wrong-import-position

# Sanitizers take several times the time and the memory.
SLOW = 10 if {"ASAN_OPTIONS", "UBSAN_OPTIONS"} & set(os.environ) else 1
MAX_CPU_SECONDS = 1 * SLOW
MAX_PEAK_BYTES = 256 * 1024 * 1024 * SLOW

TIED = program.TINY / "llama_tied"


class HostileTest(program.TestCase):

    def assert_refused(self, args, *words, stdout=""):
        with self.subTest(args=[str(arg)[:100] for arg in args]):
            result = program.run(*args)
            self.assertEqual(result.code, 2, result.stderr)
            self.assertRegex(result.stderr, r"\Aerror: [^\n]+\n\Z")
            for word in words:
                self.assertIn(word, result.stderr)
            self.assertRegex(result.stdout, rf"\A{stdout}\Z")
            self.assertLess(result.cpu_seconds, MAX_CPU_SECONDS)
            self.assertLess(result.peak_bytes, MAX_PEAK_BYTES)

    def copy(self, name, *others):
        """A writable copy of a tiny checkpoint, with other files beside its own."""
        folder = self.folder / name
        shutil.copytree(program.TINY / name, folder, copy_function=shutil.copyfile)
        for other in others:
            shutil.copyfile(other, folder / other.name)
        return folder

    # ---- Flags ---------------------------------------------------------------------------------

    def test_flags_that_do_not_exist(self):
        self.assert_refused(["--nonsense"], "--nonsense", "--help")
        self.assert_refused(["stray"], "stray")
        self.assert_refused(["--nonsense\nerror: \x1b[31mfake"], "\\x0aerror: \\x1b[31mfake")

    def test_sampling_out_of_range(self):
        for flag, value in [("--temperature", "nan"), ("--temperature", "-1"),
                            ("--temperature", "inf"), ("--temperature", "1e999"),
                            ("--top-k", "-1"), ("--top-p", "nan"), ("--top-p", "0"),
                            ("--top-p", "1.5"), ("--min-p", "nan"), ("--min-p", "-0.5"),
                            ("--seed", "-1"), ("--seed", "18446744073709551616")]:
            self.assert_refused([flag, value], flag)

    def test_numbers_that_do_not_parse(self):
        for flag in ["--temperature", "--top-k", "--top-p", "--min-p", "--seed", "--threads",
                     "--max-new-tokens", "--top-logits", "--prompt-ids"]:
            for value in ["x", "", "1e", "0x", "99999999999999999999x"]:
                self.assert_refused([flag, value], flag)

    def test_what_this_lesson_does_not_do(self):
        self.assert_refused(["--backend", "cuda"], "--backend cuda")
        self.assert_refused(["--backend", "tpu"], "--backend")
        self.assert_refused(["--dtype", "bf16"], "--dtype bf16")
        self.assert_refused(["--dtype", "f64"], "--dtype")

    def test_two_models(self):
        self.assert_refused(["--model", TIED, "--random-weights", "llama-8b"], "--model",
                            "--random-weights")

    def test_a_report_that_cannot_be_written(self):
        # Found before the work: the default model's would take seconds.
        self.assert_refused(["--json", self.folder / "no/such/folder.json"], "--json",
                            "cannot write")
        self.assert_refused(["--json", self.folder], "--json", "cannot write")
        self.assert_refused(["--json", ""], "--json")

    def test_an_older_report_stays_if_the_program_does_not_get_so_far(self):
        path = self.write("report.json", "old")
        self.assert_refused(["--json", path, "--model", self.folder / "nothing"], "nothing")
        self.assertEqual(path.read_text(), "old")

    def test_stop_strings(self):
        self.assert_refused(["--stop", ""], "stop")
        self.assert_refused(["--model", TIED, "--prompt-ids", "1", "--stop", "x"], "--stop",
                            "tokenizer")

    # ---- Prompts -------------------------------------------------------------------------------

    def test_texts(self):
        self.assert_refused(["--prompt", ""], "--prompt", "empty")
        self.assert_refused(["--prompt", "", "--raw"], "--prompt", "empty")
        self.assert_refused(["--prompt", "caf\udce9"], "--prompt", "UTF-8", "byte 3")
        self.assert_refused(["--prompt", "\udcff", "--raw"], "--prompt", "UTF-8")
        self.assert_refused(["--prompt", "fine", "--prompt", "\udced\udca0\udc80"], "UTF-8")

    def test_longer_than_the_context(self):
        self.assert_refused(["--prompt", "word " * 9000], "--prompt", "context of 8192")
        self.assert_refused(["--raw", "--prompt", "x" * 100_000], "--prompt", "context of 8192")
        ids = program.ids([1] * 512)
        self.assert_refused(["--model", TIED, "--prompt-ids", ids], "--prompt-ids",
                            "context of 512")

    def test_ids(self):
        for ids in ["512", "-1", "1,2,512", "2147483647"]:
            self.assert_refused(["--model", TIED, f"--prompt-ids={ids}"], "--prompt-ids",
                                "vocabulary of 512")
        for ids in ["2147483648", "99999999999999999999", "4294967297", "1,x", "1.5", ",", "1 2"]:
            self.assert_refused(["--model", TIED, "--prompt-ids", ids], "--prompt-ids")

    def test_files(self):
        self.assert_refused(["--prompts", self.folder / "nothing.json"], "nothing.json")
        self.assert_refused(["--prompts", self.folder], "not a regular file")
        for content in [
                "", "not JSON", "{}", "[]", '"text"', "[1]", "[[]]", "[1.5]", "[[1.5]]", '[["1"]]',
                "[null]", '["fine", [1, null]]', "[[49152]]", "[[-1]]", "[[9223372036854775808]]",
                "[[18446744073709551615]]", "[[1e300]]", '[""]', '{"a": 1, "a": 2}', '["cut',
                b'["\xff"]', '["\\ud800"]', "[" * 100_000, "[" * 100_000 + "]" * 100_000,
        ]:
            path = self.write("prompts.json", content)
            self.assert_refused(["--prompts", path], "prompts.json")

    # ---- Models --------------------------------------------------------------------------------

    def test_no_model(self):
        for path, word in [("", "--model"), (self.folder / "nothing", "no such file"),
                           (self.folder, "config.json"), (self.write("empty.gguf", ""), "empty"),
                           (self.write("text.gguf", "Dear model,\n" * 100), "not a GGUF file"),
                           (self.write("zeros.gguf", bytes(4096)), "not a GGUF file"),
                           ("/dev/zero", "not a regular file"), ("/dev/null", "/dev/null"),
                           ("\n\x1b[31m", "\\x0a\\x1b[31m"), ("x" * 5000, "")]:
            self.assert_refused(["--model", path], word)
        os.mkfifo(self.folder / "pipe")
        self.assert_refused(["--model", self.folder / "pipe"], "not a regular file")

    def test_a_model_that_was_cut_off(self):
        # In the header, the metadata, the tokenizer, the tensor infos, the first and the last
        # tensor.
        size = program.DEFAULT_MODEL.stat().st_size
        with open(program.DEFAULT_MODEL, "rb") as file:
            content = file.read()
        for n in [4, 20, 500, 100_000, 1_000_000, 1_745_000, 3_000_000, size // 2, size - 1]:
            path = self.write("cut.gguf", content[:n])
            self.assert_refused(["--model", path], "cut.gguf")

    def test_a_checkpoint_that_is_not_whole(self):
        for name in sorted(os.listdir(program.TINY / "llama_sharded")):
            if name.endswith(".safetensors") or name in ("config.json",
                                                         "model.safetensors.index.json"):
                folder = self.copy("llama_sharded")
                (folder / name).unlink()
                self.assert_refused(["--model", folder, "--prompt-ids", "1"], str(folder))
                shutil.rmtree(folder)

    def test_weights_that_are_no_numbers(self):
        folder = self.copy("llama_tied")
        path = folder / "model.safetensors"
        content = path.read_bytes()
        header = 8 + int.from_bytes(content[:8], "little")
        path.write_bytes(content[:header] + b"\xff" * (len(content) - header))
        # Found by the first pass, after the lines about machine and model.
        self.assert_refused(["--model", folder, "--prompt-ids", "1"], "damaged",
                            stdout="machine [^\n]*\nmodel [^\n]*\nmemory [^\n]*\n[^\n]*")

    def test_a_checkpoint_without_a_tokenizer(self):
        self.assert_refused(["--model", TIED], "--prompt-ids")
        self.assert_refused(["--model", TIED, "--prompt", "Hi"], "--prompt", "no tokenizer")
        path = self.write("prompts.json", '[[1, 2], "Hi"]')
        self.assert_refused(["--model", TIED, "--prompts", path], "prompt 1", "no tokenizer")

    def test_a_vocabulary_shorter_than_the_tokenizers(self):
        folder = self.copy("llama_tied", program.TOKENIZERS / "llama3/tokenizer.json")
        self.assert_refused(["--model", folder, "--prompt-ids", "1"], "3005 tokens", "512")
        self.assert_refused(["--model", folder, "--prompt", "Hi"], "3005 tokens", "512")

    def test_a_feature_that_is_not_there(self):
        self.assert_refused(["--model", program.TINY / "qwen3_moe", "--prompt-ids", "1"],
                            "'qwen3_moe'", "not supported")

    def test_random_weights(self):
        self.assert_refused(["--random-weights", "nonsense", "--prompt-ids", "1"], "'nonsense'",
                            "llama-8b")
        self.assert_refused(["--random-weights", "llama-8b"], "--prompt-ids")
        self.assert_refused(["--random-weights", "llama-8b", "--prompt", "Hi"], "--prompt-ids")
        self.assert_refused(
            ["--random-weights", "llama-8b", "--prompt-ids", "1", "--temperature", "nan"],
            "--temperature")

    def test_random_weights_that_do_not_fit_the_memory(self):
        if os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") > 400e9:
            self.skipTest("they do")
        self.assert_refused(["--random-weights", "llama-70b", "--prompt-ids", "1"], "llama-70b",
                            "GB of memory", "are free")


if __name__ == "__main__":
    program.main()
