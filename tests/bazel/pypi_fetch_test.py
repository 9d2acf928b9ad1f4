#!/usr/bin/env python3
"""bazel/pypi_fetch.py with a pretended pip: what it accepts, and what it says when it does not."""

import hashlib
import os
import subprocess
import sys
import tempfile
import unittest
import zipfile

SCRIPT = os.path.abspath("bazel/pypi_fetch.py")
CONTENT = b"the model" * 1000


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class PypiFetchTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        os.makedirs(self.path("site/pip"))
        open(self.path("site/pip/__init__.py"), "w").close()
        os.makedirs(self.path("out"))
        with zipfile.ZipFile(self.path("p.whl"), "w") as wheel:
            wheel.writestr("package/file.bin", CONTENT)
        with open(self.path("p.whl"), "rb") as wheel:
            self.wheel_sha256 = sha256(wheel.read())
        self.pip("import os, shutil, sys\n"
                 "folder = sys.argv[sys.argv.index('--dest') + 1]\n"
                 "assert sys.argv[-1] == 'p==1.0', sys.argv\n"
                 "os.mkdir(folder)\n"
                 f"shutil.copy({self.path('p.whl')!r}, folder)\n")

    def path(self, name):
        return os.path.join(self.folder, name)

    def pip(self, program):
        with open(self.path("site/pip/__main__.py"), "w") as file:
            file.write(program)

    def fetch(self, **changes):
        flags = {"package": "p", "version": "1.0", "wheel-sha256": self.wheel_sha256,
                 "file": "package/file.bin", "file-sha256": sha256(CONTENT), "megabytes": "1",
                 "out": "file.bin", "error-file": "error"}
        flags.update({name.replace("_", "-"): value for name, value in changes.items()})
        result = subprocess.run(
            [sys.executable, SCRIPT] + [f"--{name}={value}" for name, value in flags.items()],
            cwd=self.path("out"), env={**os.environ, "PYTHONPATH": self.path("site")},
            capture_output=True, text=True, check=False)
        self.assertNotIn("Traceback", result.stderr)
        return result.returncode

    def assert_refused(self, code, *words):
        self.assertEqual(code, 2)
        # Nothing is left of what was refused.
        self.assertEqual(os.listdir(self.path("out")), ["error"])
        with open(self.path("out/error")) as file:
            sentence = file.read()
        self.assertEqual(sentence.count("\n"), 1, sentence)
        for word in words:
            self.assertIn(word, sentence)

    def test_the_file_alone_is_kept(self):
        self.assertEqual(self.fetch(), 0)
        self.assertEqual(os.listdir(self.path("out")), ["file.bin"])
        with open(self.path("out/file.bin"), "rb") as file:
            self.assertEqual(file.read(), CONTENT)

    def test_wheel_with_another_hash(self):
        self.assert_refused(self.fetch(wheel_sha256="0" * 64), "The wheel of p 1.0",
                            self.wheel_sha256, "0" * 64, "cache purge")

    def test_file_with_another_hash(self):
        self.assert_refused(self.fetch(file_sha256="0" * 64), "package/file.bin has the sha256")

    def test_file_that_the_wheel_lacks(self):
        self.assert_refused(self.fetch(file="package/other"), "no file package/other")

    def test_wheel_that_is_no_archive(self):
        with open(self.path("p.whl"), "wb") as file:
            file.write(b"<html>")
        self.assert_refused(self.fetch(wheel_sha256=sha256(b"<html>")), "package/file.bin")

    def test_no_pip(self):
        self.pip("import sys\nsys.exit('python3: No module named pip')")
        self.assert_refused(self.fetch(), "python3-pip", "./bazelw")

    def test_no_network(self):
        self.pip("import sys\nsys.exit('NewConnectionError: Temporary failure in name resolution')")
        self.assert_refused(self.fetch(), "p==1.0", "no network", "again")

    def test_certificate_not_trusted(self):
        self.pip("import sys\nsys.exit('[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed')")
        self.assert_refused(self.fetch(), "certificate")

    def test_any_other_failure_is_told_in_pips_words(self):
        self.pip("import sys\nsys.exit('ERROR: the moon is down')")
        self.assert_refused(self.fetch(), "the moon is down")


if __name__ == "__main__":
    unittest.main()
