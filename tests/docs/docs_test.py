#!/usr/bin/env python3
"""Holds every *.md of the repository to what is there: links, anchors, paths, targets, tables.

Commands and their output are held by a readme_test of each document, which must exist
(//tests/lessons:readme_test.bzl); this test looks at the names.
"""

import os
import pathlib
import re
import sys
import unittest

sys.path[:0] = [os.path.abspath("tests/docs"), os.path.abspath("tests/bazel"),
                os.path.abspath("benchmarks")]
import law_test  # pylint: disable=wrong-import-position
import markdown  # pylint: disable=wrong-import-position
import tables  # pylint: disable=wrong-import-position

# Tests run in a tree of links; the file behind the link lies in the workspace.
ROOT = pathlib.Path(os.path.realpath("WORKSPACE")).parent

# A word between backticks that ends so is one of our files, even without a folder.
OURS = (".cc", ".cu", ".cuh", ".h", ".py", ".bzl", ".svg", ".md", ".txt")

# Named, but made elsewhere: by a reader, or inside an archive.
ELSEWHERE = {"aios_gpu/run.sh"}


def files():
    """Every file of the workspace, as a path from its root."""
    found = set()
    for folder, folders, names in os.walk(ROOT):
        relative = pathlib.Path(folder).relative_to(ROOT)
        folders[:] = [name for name in folders
                      if name == ".ci" or not name.startswith((".", "bazel-", "__pycache__"))]
        if folder == str(ROOT) and "exercises" in folders:  # the reader's own
            folders.remove("exercises")
        found |= {(relative / name).as_posix() for name in [*names, *folders]}
    return found


FILES = files()
TOP = {path for path in FILES if "/" not in path} | {"exercises"}
NAMES = {path.split("/")[-1] for path in FILES}


def documents():
    return {path: (ROOT / path).read_text() for path in sorted(FILES) if path.endswith(".md")}


def exists(path, document):
    """Whether `path`, from the root or beside the document, is there; NN, NAME and * are anything."""
    path = path.rstrip("/")
    if path == "exercises" or path.startswith("exercises/NN"):
        return True
    if path.startswith("exercises/"):  # copied there by :start
        path = re.sub(r"^exercises/([^/]+)", r"lessons/\1/exercise", path)
    beside = os.path.normpath(os.path.join(os.path.dirname(document), path))
    if path in FILES or beside in FILES or path in ELSEWHERE:
        return True
    wild = re.sub(r"[A-Z]{2,}(_name)?|\*", "[^/]*", re.escape(path).replace(r"\*", "*"))
    return wild != re.escape(path) and any(
        re.fullmatch(wild, name) or name.endswith("/" + path) for name in FILES)


def paths(text):
    """What the text says are files or folders: each with whether it is from the root."""
    # In the middle of a sentence or of a picture: what begins with one of our folders.
    prose = re.sub(r"\]\([^)]*\)|https?://\S+|(?<![\w/])//\S*", " ", text)
    tops = "|".join(sorted(re.escape(t) for t in TOP if "." not in t))
    for match in re.finditer(rf"(?<![\w./-])(?:{tops})/(?:[\w.*/-]|\{{[^{{}}`]*\}})*", prose):
        yield from markdown.braces(match[0].rstrip(".-"))
    for span in markdown.code_spans(text):
        for word in markdown.braces(span) if " " not in span else [span]:
            if re.fullmatch(r"[\w*][\w./*-]*", word) and word.endswith(OURS):
                yield word


def wrong_paths(document, text):
    return sorted({path for path in paths(text)
                   if not exists(path, document) and ("/" in path or path not in NAMES)})


def wrong_links(document, text, all_documents):
    wrong = []
    for _, link in markdown.links(text):
        if re.match(r"https?://", link):
            continue
        target, _, anchor = link.partition("#")
        path = os.path.normpath(os.path.join(os.path.dirname(document), target)) if target else document
        if path not in FILES:
            wrong.append(link)
        elif anchor and anchor not in markdown.anchors(all_documents.get(path, "")):
            wrong.append(link)
    return wrong


def wrong_targets(text, labels):
    wrong = []
    for target in markdown.targets(text):
        if target.endswith("..."):
            package = target[2:].removesuffix("...").rstrip("/")
            found = package in FILES | {"", "exercises"}
        elif match := re.match(r"//exercises/([^:]+):check$", target):  # :start makes it
            found = f"//lessons/{match[1]}:start" in labels or "NN" in match[1]
        else:
            found = markdown.label(target) in labels
        if not found and not re.search("[A-Z]{2}", target):
            wrong.append(target)
    return wrong


def query_labels():
    """Every target of the tree, as `bazel query` knows it."""
    xml = law_test.query(str(ROOT), " + ".join(law_test.source_trees(str(ROOT))))
    return {rule.get("name") for rule in xml.iter("rule")}


class CheckerTest(unittest.TestCase):
    """The checks themselves: they must be able to fail."""

    def test_links(self):
        self.assertEqual(wrong_links("README.md", "[a](LICENSE) [b](nowhere.md) [c](#two-words) [d](#x)\n"
                                     "# Two words", {"README.md": "# Two words\n"}), ["nowhere.md", "#x"])

    def test_paths(self):
        self.assertEqual(wrong_paths("README.md", "common/base and common/nowhere; `no_such_file.cc`, "
                                     "`common/{base, nonsense}/x`, `WORKSPACE`, `cli.cc`, lessons/NN_name"),
                         ["common/base/x", "common/nonsense/x", "common/nowhere", "no_such_file.cc"])

    def test_targets(self):
        labels = {"//a:a", "//a:b", "//lessons/01_x:start"}
        self.assertEqual(wrong_targets("`//a` //a:b //a:c, //tests/... //nowhere/... https://a.b/c "
                                       "//exercises/01_x:check //exercises/02_y:check. --//a:flag", labels),
                         ["//a:c", "//nowhere/...", "//exercises/02_y:check", "//a:flag"])


class DocumentsTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.documents = documents()
        cls.labels = query_labels()

    def assert_none(self, problems):
        """problems(document, text): what is wrong there."""
        self.assertIn("README.md", self.documents)
        found = [f"{document}: {problem}" for document, text in self.documents.items()
                 for problem in problems(document, text)]
        self.assertEqual(found, [])

    def test_links_lead_somewhere(self):
        self.assert_none(lambda document, text: wrong_links(document, text, self.documents))

    def test_paths_exist(self):
        self.assert_none(wrong_paths)

    def test_targets_exist(self):
        self.assertIn("//tests/docs:docs_test", self.labels)
        self.assert_none(lambda _, text: wrong_targets(text, self.labels))

    def test_configs_exist(self):
        bazelrc = (ROOT / ".bazelrc").read_text()
        self.assert_none(lambda _, text: [
            config for config in re.findall(r"--config[= ](\w+)", text)
            if f"build:{config} " not in bazelrc])

    def test_scripts_in_commands_exist(self):
        self.assert_none(lambda document, text: [
            script for script in re.findall(r"\bpython3 ([\w./]+)", text)
            if not exists(script, document)])

    def test_tables_are_generated(self):
        self.assert_none(lambda document, text: ["not in READMES of benchmarks/tables.py"]
                         if "<!-- table " in text and document not in tables.READMES else [])

    def test_glossary_has_the_dimensions_of_the_code(self):
        config = (ROOT / "common/model/config.h").read_text()
        names = re.findall(r"^  int64_t (\w+)(?: = 0;|\(\) const)", config, re.M)
        self.assertLessEqual({"head_dim", "kv_dim"}, set(names))
        glossary = self.documents["GLOSSARY.md"]
        self.assertEqual([name for name in names if f"\n| `{name}` |" not in glossary], [])

    def test_glossary_has_the_default_models_numbers(self):
        row = re.compile(r"^\| `(\w+)` \|.*\| ([0-9,]+) \|$", re.M)
        said = {name: int(number.replace(",", ""))
                for name, number in row.findall(self.documents["GLOSSARY.md"])}
        # A line that the model's own file decides; another test holds it to a run.
        output = (ROOT / "lessons/02_running_an_llm/expected/output.txt").read_text()
        line = re.search(r"(\d+) layers, d_model (\d+), (\d+) heads \((\d+) key-value\), "
                         r"vocabulary (\d+)", output)
        names = ("n_layers", "d_model", "n_heads", "n_kv_heads", "vocab_size")
        self.assertEqual([said[name] for name in names], [int(number) for number in line.groups()])
        self.assertEqual(said["q_dim"], said["n_heads"] * said["head_dim"])
        self.assertEqual(said["kv_dim"], said["n_kv_heads"] * said["head_dim"])

    def test_commands_have_a_test(self):
        def missing(document, text):
            lesson = re.match(r"lessons/(\d\d)_\w+/README\.md$", document)
            test = (f"//tests/lessons:lesson_{lesson[1]}_readme_test" if lesson else
                    f"//tests/docs:{os.path.splitext(document)[0].lower()}_test")
            runs = any(command.argv for command in markdown.commands(text))
            return [f"its commands need {test}"] if runs and test not in self.labels else []
        self.assert_none(missing)


if __name__ == "__main__":
    unittest.main()
