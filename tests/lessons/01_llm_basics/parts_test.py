#!/usr/bin/env python3
"""Each part's figures of a tiny checkpoint: against transformers (tests/golden/trace.json), or
worked out here from the file's own bytes."""

import json
import math
import os
import re
import struct
import sys
import xml.etree.ElementTree

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import program  # pylint: disable=wrong-import-position

TOLERANCE = 1e-4
TEXT = "Hello world"


def tensors(path):
    """Names, shapes and f32 numbers of a safetensors file."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    for name, entry in json.loads(data[8:8 + length]).items():
        if name == "__metadata__":
            continue
        assert entry["dtype"] == "F32"
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        yield name, entry["shape"], struct.unpack(f"<{(end - begin) // 4}f", data[begin:end])


class PartsTest(program.TestCase):

    def setUp(self):
        super().setUp()
        self.model = self.tiny("mistral")
        self.golden = json.loads(program.TRACE.read_text())["mistral"]
        self.config = json.loads((self.model / "config.json").read_text())

    def show(self, *args):
        report = program.report("--model", self.model, "--text", TEXT, *args)
        self.assertEqual(report["tokens"], self.golden["tokens"])
        self.assertGreater(len(report["checks"]), 0)
        for check in report["checks"]:
            self.assertTrue(check["ok"], check)
        return report["shown"]

    def test_attention_weights(self):
        n_layers = self.config["num_hidden_layers"]
        n_heads = self.config["num_attention_heads"]
        for layer in range(n_layers):
            theirs = self.golden["layers"][layer]["attn_weights"]
            for head in range(n_heads):
                ours = self.show("--show", "attention", "--layer", layer,
                                 "--head", head)["attention"]
                self.assertEqual((ours["layer"], ours["head"]), (layer, head))
                for our_row, their_row in zip(ours["weights"], theirs[head], strict=True):
                    for a, b in zip(our_row, their_row, strict=True):
                        self.assertAlmostEqual(a, b, delta=TOLERANCE)
            sink = sum(sum(row[0] for row in head[1:]) / (len(head) - 1) for head in theirs)
            self.assertEqual(ours["sink"][layer][0], layer)
            self.assertAlmostEqual(ours["sink"][layer][1], sink / n_heads, delta=TOLERANCE)

    def test_the_head_that_is_chosen_looks_most_at_the_token_before(self):
        def previous(layer, head):
            rows = self.golden["layers"][layer]["attn_weights"][head]
            return sum(row[t - 1] for t, row in enumerate(rows) if t > 0)
        heads = [(layer, head) for layer in range(self.config["num_hidden_layers"])
                 for head in range(self.config["num_attention_heads"])]
        ours = self.show("--show", "attention")["attention"]
        self.assertEqual((ours["layer"], ours["head"]), max(heads, key=lambda h: previous(*h)))
        ours = self.show("--show", "attention", "--layer", 1)["attention"]
        self.assertEqual((ours["layer"], ours["head"]),
                         max((h for h in heads if h[0] == 1), key=lambda h: previous(*h)))
        ours = self.show("--show", "attention", "--head", 2)["attention"]
        self.assertEqual((ours["layer"], ours["head"]),
                         max((h for h in heads if h[1] == 2), key=lambda h: previous(*h)))

    def test_the_top_words_after_each_layer(self):
        ours = self.show("--show", "logits")["logits"]
        for layer, theirs in zip(ours["layers"], self.golden["layers"], strict=True):
            best = sorted(range(len(theirs["logits"])), key=lambda i: -theirs["logits"][i])[:5]
            self.assertEqual([token for token, _ in layer["top"]], best)
            for token, logit in layer["top"]:
                self.assertAlmostEqual(logit, theirs["logits"][token], delta=TOLERANCE)
            ranks = sorted(theirs["logits"], reverse=True)
            self.assertEqual(layer["rank"], 1 + ranks.index(theirs["logits"][ours["answer"]]))
        self.assertEqual(ours["answer"], best[0])

    def test_residual_stream(self):
        ours = self.show("--show", "residual")["residual"]["layers"]
        for (length, attention, ffn), theirs in zip(ours, self.golden["layers"], strict=True):
            added = [b - a for a, b in zip(theirs["residual"], theirs["after_attention"])]
            self.assertAlmostEqual(length, math.hypot(*theirs["residual"]), delta=TOLERANCE)
            self.assertAlmostEqual(attention, math.hypot(*added), delta=TOLERANCE)
            added = [b - a for a, b in zip(theirs["after_attention"], theirs["after_ffn"])]
            self.assertAlmostEqual(ffn, math.hypot(*added), delta=TOLERANCE)

    def test_norm(self):
        weights = {name: numbers for name, _, numbers in tensors(self.model / "model.safetensors")}
        ours = self.show("--show", "norm")["norm"]["layers"]
        for layer, theirs in zip(ours, self.golden["layers"], strict=True):
            x = theirs["residual"]
            rms = math.sqrt(sum(a * a for a in x) / len(x) + self.config["rms_norm_eps"])
            weight = weights[f"model.layers.{layer['layer']}.input_layernorm.weight"]
            after = [a / rms * w for a, w in zip(x, weight, strict=True)]
            self.assertAlmostEqual(layer["before"][1], math.hypot(*x) / math.sqrt(len(x)),
                                   delta=TOLERANCE)
            self.assertAlmostEqual(layer["after"][1], math.hypot(*after) / math.sqrt(len(x)),
                                   delta=TOLERANCE)

    def test_ffn(self):
        ours = self.show("--show", "ffn")["ffn"]["layers"]
        for layer, theirs in zip(ours, self.golden["layers"], strict=True):
            largest = max(theirs["ffn_hidden"], key=abs)
            unit, value = layer["largest_hidden"]
            self.assertEqual(unit, theirs["ffn_hidden"].index(largest))
            self.assertAlmostEqual(value, largest, delta=TOLERANCE)
            self.assertTrue(0 <= layer["shut"] <= 1)
            silu = max(g / (1 + math.exp(-g)) for g in theirs["gate"])  # of the last token
            self.assertGreaterEqual(layer["largest_gate"], silu - TOLERANCE)

    def test_embedding(self):
        rows = next((shape, numbers) for name, shape, numbers
                    in tensors(self.model / "model.safetensors") if "embed_tokens" in name)
        (n, width), numbers = rows
        row = lambda i: numbers[i * width:(i + 1) * width]
        ours = self.show("--show", "embedding")["embedding"]["neighbours"]
        self.assertEqual(set(ours), {str(token) for token in self.golden["tokens"]})
        for token, neighbours in ours.items():
            a = row(int(token))
            cosine = lambda b: sum(map(lambda x, y: x * y, a, b)) / math.hypot(*a) / math.hypot(*b)
            cosines = {i: cosine(row(i)) for i in range(n) if i != int(token)}
            best = sorted(cosines, key=cosines.get, reverse=True)[:8]
            self.assertEqual([other for other, _ in neighbours], best)
            for other, value in neighbours:
                self.assertAlmostEqual(value, cosines[other], delta=TOLERANCE)

    def test_rope(self):
        ours = self.show("--show", "rope")["rope"]
        theta = self.config["rope_parameters"]["rope_theta"]
        head_dim = self.config.get("head_dim") or (self.config["hidden_size"] //
                                                   self.config["num_attention_heads"])
        turns = [theta ** (-2 * i / head_dim) for i in range(head_dim // 2)]
        for wavelength, turn in zip(ours["wavelengths"], turns, strict=True):
            self.assertAlmostEqual(wavelength * turn, 2 * math.pi, places=6)
        for distance, near, far in ours["distances"]:
            # Of two vectors of ones, each pair (1, 1) gives 2 cos(angle), of head_dim in all.
            expected = sum(2 * math.cos(distance * turn) for turn in turns) / head_dim
            self.assertAlmostEqual(near, expected, delta=TOLERANCE)
            self.assertAlmostEqual(far, expected, delta=TOLERANCE)

    def test_params(self):
        kinds = {"embedding": "embed_tokens", "attention": "self_attn", "feed-forward": "mlp",
                 "norms": "norm", "output": "lm_head"}
        for family in ("mistral", "llama_tied", "qwen2"):
            self.model = self.tiny(family) if family != "mistral" else self.model
            counts = dict.fromkeys(kinds, 0)
            for name, shape, _ in tensors(self.model / "model.safetensors"):
                (kind,) = (k for k, part in kinds.items() if part in name)
                counts[kind] += math.prod(shape)
            report = program.report("--model", self.model, "--text", TEXT, "--show", "params")
            ours = report["shown"]["params"]
            self.assertEqual({kind: ours[kind]["by_config"] for kind in kinds}, counts)
            self.assertEqual({kind: ours[kind]["in_file"] for kind in kinds}, counts)
            self.assertEqual(report["model"]["parameters"], sum(counts.values()))
            self.assertTrue(all(check["ok"] for check in report["checks"]))

    def test_every_family_with_every_part(self):
        for family in ("llama_tied", "llama_bf16", "llama_sharded", "llama3_scaled", "qwen2",
                       "qwen3"):
            with self.subTest(family):
                model = self.tiny(family)
                result = program.run("--model", model, "--text", TEXT)
                self.assertEqual((result.code, result.stderr), (0, ""))
                self.assertNotIn(": NO (", result.stdout)

    def test_picture(self):
        path = self.folder / "heads.svg"
        self.model = self.model
        text = "<a & \"b\">\tI say: 1 < 2"
        result = program.run("--model", self.model, "--text", text, "--show", "attention",
                             "--svg", path)
        self.assertEqual((result.code, result.stderr), (0, ""))
        self.assertIn(str(path), result.stdout)
        n = int(re.search(r"(\d+) tokens", result.stdout).group(1))
        picture = xml.etree.ElementTree.parse(path)
        rects = picture.findall(".//{http://www.w3.org/2000/svg}rect")
        self.assertEqual(len(rects), 1 + n * (n + 1) // 2)  # the background, and no future
        # The same into a folder.
        result = program.run("--model", self.model, "--text", text, "--show", "attention",
                             "--svg", self.folder)
        self.assertEqual(result.code, 0)
        self.assertEqual((self.folder / "attention.svg").read_bytes(), path.read_bytes())

    def test_heat_map_in_the_terminal(self):
        result = program.run("--model", self.model, "--text", TEXT, "--show", "attention")
        lines = [line for line in result.stdout.splitlines() if re.match(r" {6,9}\d+ '", line)]
        n = len(self.golden["tokens"])
        self.assertEqual(len(lines), n)
        for t, line in enumerate(lines):
            self.assertEqual(line.count(" ·"), n - 1 - t, line)  # the future
        self.assertIn("100%", lines[0])

    def test_as_many_tokens_as_can_be_shown(self):
        text = "x" * 300
        while True:
            result = program.run("--model", self.model, "--text", text, "--show", "attention")
            if result.code == 0:
                break
            text = text[:-1]
        self.assertIn(" 256 tokens:", result.stdout)
        self.assertIn("224 tokens more", result.stdout)

    def test_one_token(self):
        result = program.run("--model", self.model, "--text", "a")
        self.assertEqual((result.code, result.stderr), (0, ""))

    def test_the_report_is_the_same_in_a_file(self):
        path = self.folder / "report.json"
        path.write_text("an older and much longer report" * 1000)
        args = ["--model", self.model, "--text", TEXT, "--show", "rope", "--show", "params"]
        result = program.run(*args, "--json", path)
        self.assertEqual(result.code, 0)
        self.assertIn("RoPE", result.stdout)
        self.assertEqual(json.loads(path.read_text()), program.report(*args))

    def test_threads_do_not_matter(self):
        self.assertEqual(self.show("--show", "all", "--threads", 1),
                         self.show("--show", "all", "--threads", 3))


if __name__ == "__main__":
    program.main()
