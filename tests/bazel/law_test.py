#!/usr/bin/env python3
"""Holds the law of the layers (law.py) against every dependency that `bazel query` knows."""

import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import law  # pylint: disable=wrong-import-position


class CheckerTest(unittest.TestCase):
    """The checker itself: it must be able to fail."""

    FORBIDDEN = [
        ("//kernels/cpu:matmul", "//common/tensor:tensor"),
        ("//kernels/cpu:matmul", "//common/base:error"),
        ("//kernels:formats", "//kernels/cpu:matmul"),
        ("//common/base:error", "//common/tensor:tensor"),
        ("//common/base:error", "//kernels:formats"),
        ("//common/tensor:tensor", "//common/backend:backend"),
        ("//common/tensor:tensor", "//kernels/cpu:matmul"),
        ("//common/backend:backend", "//common/model:config"),
        ("//common/model/reference:reference", "//common/engine:engine"),
        ("//common/engine:engine", "//lessons/02_running_an_llm:main"),
        ("//common/engine:engine", "//tools:tokenize"),
        ("//common/model:config", "//tests/golden:golden"),
        ("//lessons/02_running_an_llm:main", "//lessons/01_llm_basics:lib"),
        ("//lessons/02_running_an_llm:main", "//lessons:compare"),
        ("//lessons/02_running_an_llm:main", "//benchmarks:json"),
        ("//tools:tokenize", "//tests/golden:golden"),
        ("//bazel:macro", "//common/base:error"),
        ("//common/nonsense:x", "//common/base:error"),
        ("//tests/x:x", "//nowhere:x"),
    ]
    ALLOWED = [
        ("//lessons/02_running_an_llm:main", "//common/engine:engine"),
        ("//lessons/02_running_an_llm:main", "//common/base:cli"),
        ("//lessons/02_running_an_llm/exercise:check", "//lessons/02_running_an_llm:lib"),
        ("//lessons:compare", "//lessons/02_running_an_llm:main"),
        ("//common/engine:engine", "//common/tensor:tensor"),
        ("//common/serve:serve", "//common/engine:engine"),
        ("//common/model/reference:reference", "//common/loader:gguf"),
        ("//common/text:tokenizer", "//common/loader:gguf"),
        ("//common/backend:cpu", "//kernels/cpu:matmul"),
        ("//common/tensor:dtype", "//kernels:formats"),
        ("//common/backend:backend", "//common/sample:sampler"),
        ("//common/device:device", "//common/tensor:tensor"),
        ("//common/device:device", "//kernels/cuda:check"),
        ("//kernels/cpu:matmul", "//kernels:formats"),
        ("//kernels/cpu:matmul", "@hwy//:hwy"),
        ("//kernels/ladder/matmul:level_02", "//kernels/cpu:matmul"),
        ("//tests/common/model:reference_test", "//common/model/reference:reference"),
        ("//benchmarks:bench_tokenizer", "//tests/golden:golden"),
        ("//tests/common/loader:gguf_fuzz", "//bazel:fuzz_replay_main.cc"),
        ("//tools:tokenize", "//common/text:tokenizer"),
        ("//tools:gpu_bundle", "//tests/kernels/cuda:gemv_test"),
        ("//exercises/04_kv_cache:check", "//common/mm:page_table"),
    ]

    def test_planted_bad_edges_are_found(self):
        for edge in self.FORBIDDEN:
            with self.subTest(edge=edge):
                self.assertEqual(len(law.violations([edge])), 1)

    def test_good_edges_are_not(self):
        for edge in self.ALLOWED:
            with self.subTest(edge=edge):
                self.assertEqual(law.violations([edge]), [])

    def test_one_bad_edge_among_good_ones_is_named(self):
        found = law.violations(self.ALLOWED + self.FORBIDDEN[:1])
        self.assertEqual(len(found), 1)
        self.assertIn("//kernels/cpu:matmul depends on //common/tensor:tensor", found[0])


def query(workspace, expression):
    """`bazel query`, as XML, by a Bazel of its own: the one that runs this test holds its lock."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR")) as folder:
        command = [
            os.path.join(workspace, "bazelw"), "--batch", "--nohome_rc",
            f"--output_base={folder}", "--host_jvm_args=-Xmx1g", "query", "--noimplicit_deps",
            "--noshow_progress", "--output=xml", expression,
        ]
        # Where TEST_TMPDIR is set, Bazel would install itself there.
        environment = {k: v for k, v in os.environ.items() if k != "TEST_TMPDIR"}
        try:
            result = subprocess.run(command, cwd=workspace, env=environment,
                                    capture_output=True, check=False)
        finally:
            # Bazel takes the right to write from some folders of its own.
            subprocess.run(["chmod", "-R", "u+w", folder], check=False)
    if result.returncode != 0:
        raise RuntimeError(result.stderr.decode(errors="replace"))
    return ElementTree.fromstring(result.stdout)


def source_trees(workspace):
    """`//common/...` and so on: //... would follow bazel-out and its like into the main Bazel's work."""
    patterns = ["//:all"]
    for entry in sorted(os.listdir(workspace)):
        folder = os.path.join(workspace, entry)
        if entry.startswith((".", "bazel-")) or not os.path.isdir(folder):
            continue
        if any("BUILD" in names for _, _, names in os.walk(folder)):
            patterns.append(f"//{entry}/...")
    return patterns


def edges_of(xml):
    return [(rule.get("name"), entry.get("name"))
            for rule in xml.iter("rule") for entry in rule.iter("rule-input")]


class RealEdgesTest(unittest.TestCase):

    def test_the_tree_obeys_the_law(self):
        # Tests run in a tree of links; the file behind the link lies in the workspace.
        workspace = os.path.dirname(os.path.realpath("WORKSPACE"))
        edges = edges_of(query(workspace, " + ".join(source_trees(workspace))))
        # Were the query or its reading broken, there would be nothing to object to.
        self.assertIn(("//tests/bazel:law_test", "//tests/bazel:law.py"), edges)
        print(f"{len(edges)} edges")
        self.assertEqual(law.violations(edges), [])


if __name__ == "__main__":
    unittest.main()
