#!/usr/bin/env python3
"""What ./bazelw decides on machines of all kinds, each a PATH of pretended programs."""

import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

# What bazelw may use besides the programs that it decides about.
REAL_PROGRAMS = ["bash", "cut", "dirname", "env", "getent", "grep", "head", "mktemp", "rm", "sort"]

# All that the pretended machine's list has; see bazel/debian_packages.txt.
PACKAGES = "# a comment\n\nbazel-bootstrap  the build\nlibeigen3-dev    linear algebra\n"
EIGEN = "ii  libeigen3-dev 3.4.0-4"
BAZEL = "ii  bazel-bootstrap 4.2.3+ds-9"


class Machine:
    """A checkout and a PATH. Its programs write what they were called with to a log."""

    def __init__(self, folder):
        self.folder = folder
        self.bin = os.path.join(folder, "bin")
        self.log = os.path.join(folder, "log")
        os.makedirs(self.bin)
        os.makedirs(os.path.join(folder, "aios", "bazel"))
        shutil.copy("bazelw", os.path.join(folder, "aios", "bazelw"))
        with open(os.path.join(folder, "aios/bazel/debian_packages.txt"), "w") as file:
            file.write(PACKAGES)
        for name in REAL_PROGRAMS:
            os.symlink(shutil.which(name), os.path.join(self.bin, name))
        self.program("id", "echo 0")

    def program(self, name, does=""):
        path = os.path.join(self.bin, name)
        with open(path, "w") as file:
            file.write(f'#!{shutil.which("bash")}\necho "{name} $*" >>"{self.log}"\n{does}\n')
        os.chmod(path, 0o755)

    def debian(self, *installed):
        """dpkg-query knows these packages; apt-get succeeds and installs Bazel."""
        lines = "\n".join(installed)
        self.program("dpkg-query", f"cat <<'END'\n{lines}\nEND")
        self.program("cat", 'while IFS= read -r line; do printf "%s\\n" "$line"; done')
        bazel = os.path.join(self.bin, "bazel")
        self.program("apt-get", f'echo "from apt"; [[ $* != *install* ]] || '
                                f'printf \'#!/usr/bin/env bash\\necho "bazel $*" >>{self.log}\\n\' >{bazel}; '
                                f'[[ ! -e {bazel} ]] || {shutil.which("chmod")} +x {bazel}')

    def bazel(self, version, name="bazel"):
        self.program(name, f'[[ $1 == --version ]] && echo "bazel {version}"; exit 0')

    def run(self, *args, env=None, answer=None):
        """Runs bazelw without a terminal, or with one on which `answer` is typed."""
        command = [os.path.join(self.folder, "aios", "bazelw"), *args]
        environment = {"PATH": self.bin, "HOME": self.folder, **(env or {})}
        environment = {name: value for name, value in environment.items() if value is not None}
        if answer is None:
            result = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL,
                                    capture_output=True, text=True, check=False)
            return result.returncode, result.stderr
        try:
            ours, theirs = pty.openpty()
        except OSError as error:  # A chroot without /dev/pts.
            raise unittest.SkipTest(f"this machine lends no terminal: {error}")
        process = subprocess.Popen(command, env=environment, stdin=theirs, stderr=theirs,
                                   stdout=subprocess.DEVNULL)
        os.close(theirs)
        os.write(ours, answer.encode() + b"\n")
        said = b""
        while True:
            try:
                block = os.read(ours, 4096)
            except OSError:  # How Linux says that the other side is closed.
                break
            if not block:
                break
            said += block
        os.close(ours)
        return process.wait(), said.decode()

    def calls(self, program):
        """The arguments of each call, but for those that only asked for a version."""
        if not os.path.exists(self.log):
            return []
        with open(self.log) as file:
            found = [line.strip().split(" ", 1) for line in file]
        return [call[1] if len(call) > 1 else "" for call in found
                if call[0] == program and call[1:] != ["--version"]]


class BazelwTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(folder.cleanup)
        self.machine = Machine(folder.name)

    def assert_ran_bazel(self, result, arguments, name="bazel"):
        self.assertEqual(result[0], 0, result[1])
        self.assertEqual(self.machine.calls(name), [arguments])

    def assert_refused(self, result, *words):
        """Exit status 2, no Bazel, nothing installed, and a last sentence with these words."""
        code, said = result
        self.assertEqual(code, 2, said)
        self.assertEqual(self.machine.calls("bazel"), [])
        last = said.strip().splitlines()[-1]
        self.assertTrue(last.startswith("bazelw: "), said)
        for word in words:
            self.assertIn(word, said)

    # ---- Nothing missing

    def test_all_there_runs_bazel_at_once(self):
        self.machine.debian(EIGEN, BAZEL)
        self.machine.bazel("no_version")  # As Debian's Bazel says of itself.
        code, said = self.machine.run("test", "//...", "--test_arg=a b")
        self.assert_ran_bazel((code, said), "test //... --test_arg=a b")
        self.assertEqual(said, "")
        self.assertEqual(len(self.machine.calls("dpkg-query")), 1)
        self.assertEqual(self.machine.calls("apt-get"), [])

    def test_yes_is_not_passed_on(self):
        self.machine.debian(EIGEN, BAZEL)
        self.machine.bazel("no_version")
        self.assert_ran_bazel(self.machine.run("--yes", "build", "//x"), "build //x")

    def test_bazelisk_is_preferred_and_needs_no_bazel_package(self):
        self.machine.debian(EIGEN)
        self.machine.bazel("7.1.0")
        self.machine.program("bazelisk")
        self.assert_ran_bazel(self.machine.run("build"), "build", name="bazelisk")
        self.assertEqual(self.machine.calls("apt-get"), [])

    def test_own_bazel_4_needs_no_bazel_package(self):
        self.machine.debian(EIGEN)
        self.machine.bazel("4.2.1")
        self.assert_ran_bazel(self.machine.run("build"), "build")
        self.assertEqual(self.machine.calls("apt-get"), [])

    def test_home_is_set_where_it_was_not(self):
        self.machine.debian(EIGEN)
        self.machine.program("bazel", 'if [[ $1 == --version ]]; then echo "bazel 4.2.3"; '
                                      'else env | grep -q ^HOME=/; fi')
        self.assertEqual(self.machine.run("build", env={"HOME": None})[0], 0)

    # ---- The wrong Bazel

    def test_wrong_bazel_is_a_sentence(self):
        self.machine.debian(EIGEN)
        self.machine.bazel("7.1.0")
        code, said = self.machine.run("test")
        self.assert_refused((code, said), "Bazel 4", "is 7.1.0")
        self.assertEqual(len(said.strip().splitlines()), 1, said)
        self.assertEqual(self.machine.calls("apt-get"), [])

    def test_bazel_40_is_not_bazel_4(self):
        self.machine.debian(EIGEN)
        self.machine.bazel("40.0.0")
        self.assert_refused(self.machine.run("test"), "is 40.0.0")

    def test_distribution_with_an_older_bazel(self):
        self.machine.debian(EIGEN, "ii  bazel-bootstrap 3.5.1+ds-2")
        self.machine.bazel("no_version")
        self.assert_refused(self.machine.run("test"), "is 3.5.1")

    def test_bazel_that_cannot_tell_its_version(self):
        self.machine.debian(EIGEN)
        self.machine.program("bazel", '[[ $1 == --version ]] && exit 1; exit 0')
        self.assert_refused(self.machine.run("test"), "unknown version")

    def test_debians_bazel_4_behind_a_newer_one(self):
        self.machine.debian(EIGEN, BAZEL)
        self.machine.bazel("7.1.0")
        self.machine.bazel("no_version", name="bazel-4")
        self.assert_ran_bazel(self.machine.run("build"), "build", name="bazel-4")

    # ---- Not Debian

    def test_other_system_gets_a_list(self):
        result = self.machine.run("test")
        self.assert_refused(result, "Bazelisk or Bazel 4", "libeigen3-dev", "linear algebra")
        self.assertNotIn("bazel-bootstrap        the build", result[1])

    def test_other_system_with_bazel_4_runs_it(self):
        self.machine.bazel("4.2.3")
        self.assert_ran_bazel(self.machine.run("build"), "build")

    # ---- Something missing

    def test_root_without_terminal_installs_without_asking(self):
        self.machine.debian()
        code, said = self.machine.run("build", "//x")
        self.assert_ran_bazel((code, said), "build //x")
        self.assertIn("linear algebra", said)
        update, install = self.machine.calls("apt-get")
        self.assertIn("update", update)
        self.assertRegex(install, "install -y --no-install-recommends bazel-bootstrap libeigen3-dev$")

    def test_only_what_is_missing(self):
        # rc: removed, its configuration left. It is not there.
        self.machine.debian(EIGEN, "rc  bazel-bootstrap 4.2.3+ds-9")
        self.assert_ran_bazel(self.machine.run("build"), "build")
        self.assertRegex(self.machine.calls("apt-get")[1], " bazel-bootstrap$")

    def test_user_without_terminal_is_not_asked_and_nothing_is_installed(self):
        self.machine.debian()
        self.machine.program("id", "echo 1000")
        self.machine.program("sudo", '"$@"')
        self.assert_refused(self.machine.run("build"), "./bazelw --yes", "apt-get install")
        self.assertEqual(self.machine.calls("apt-get"), [])

    def test_user_with_yes_or_ci_uses_sudo(self):
        for args, env in ((["--yes", "build"], {}), (["build"], {"CI": "true"})):
            with self.subTest(args=args, env=env):
                self.setUp()
                self.machine.debian()
                self.machine.program("id", "echo 1000")
                self.machine.program("sudo", '"$@"')
                self.assert_ran_bazel(self.machine.run(*args, env=env), "build")
                self.assertEqual(len(self.machine.calls("sudo")), 2)

    def test_user_without_sudo_gets_the_command(self):
        self.machine.debian()
        self.machine.program("id", "echo 1000")
        self.assert_refused(self.machine.run("--yes", "build"), "run as root: apt-get update && "
                            "apt-get install --no-install-recommends bazel-bootstrap libeigen3-dev")

    def test_asks_on_a_terminal(self):
        for answer, goes_on in (("", True), ("y", True), ("yes", True), ("n", False), ("x", False)):
            with self.subTest(answer=answer):
                self.setUp()
                self.machine.debian()
                result = self.machine.run("build", answer=answer)
                self.assertRegex(result[1], re.escape("[Y/n]"))
                if goes_on:
                    self.assert_ran_bazel(result, "build")
                else:
                    self.assert_refused(result, "nothing was installed")
                    self.assertEqual(self.machine.calls("apt-get"), [])

    def test_yes_and_ci_ask_nothing_on_a_terminal(self):
        for args, env in ((["--yes", "build"], {}), (["build"], {"CI": "1"})):
            with self.subTest(args=args, env=env):
                self.setUp()
                self.machine.debian()
                result = self.machine.run(*args, env=env, answer="n")
                self.assertNotIn("[Y/n]", result[1])
                self.assert_ran_bazel(result, "build")

    def test_apt_that_fails_is_a_sentence(self):
        self.machine.debian()
        self.machine.program("apt-get", 'echo "E: Unable to locate package libeigen3-dev"; exit 100')
        self.assert_refused(self.machine.run("build"), "E: Unable to locate", "no network")

    def test_apt_writes_nothing_to_standard_output(self):
        self.machine.debian()
        result = subprocess.run([os.path.join(self.machine.folder, "aios", "bazelw"), "build"],
                                env={"PATH": self.machine.bin, "HOME": "/"}, capture_output=True,
                                text=True, stdin=subprocess.DEVNULL, check=False)
        self.assertEqual((result.returncode, result.stdout), (0, ""))


class PackageListTest(unittest.TestCase):

    def test_every_library_in_workspace_is_installed_by_bazelw(self):
        with open("WORKSPACE") as file:
            wanted = set(re.findall(r'debian_package = "([^"]+)"', file.read()))
        with open("bazel/debian_packages.txt") as file:
            listed = {line.split()[0] for line in file if line.strip() and line[0] != "#"}
        self.assertGreater(len(wanted), 5)
        self.assertEqual(wanted - listed, set())


def report_skips(result):
    """Leaves Bazel a report that tells what was skipped: its own would call all of it a success."""
    if result.skipped and "XML_OUTPUT_FILE" in os.environ:
        cases = ["skipped"] * len(result.skipped) + ["completed"] * (
            result.testsRun - len(result.skipped))
        with open(os.environ["XML_OUTPUT_FILE"], "w") as file:
            file.write("<testsuites><testsuite>" + "".join(
                f'<testcase name="{i}" result="{case}"/>' for i, case in enumerate(cases)) +
                "</testsuite></testsuites>")


if __name__ == "__main__":
    program = unittest.main(exit=False)
    report_skips(program.result)
    sys.exit(not program.result.wasSuccessful())
