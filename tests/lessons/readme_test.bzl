"""readme_test: holds a lesson's README, or another document, to its programs (readme_test.py)."""

def _each(flag, values):
    # Bazel splits args as a shell does, and takes $ for a variable.
    return ["'--%s=%s'" % (flag, value.replace("$", "$$").replace("'", "'\\''")) for value in values]

def readme_test(
        name,
        document,
        programs = [],
        figures = [],
        words = [],
        maybe = [],
        with_flags = [],
        shorten = ["--max-new-tokens=2", "--quick"],
        not_run = [],
        sources = {},
        data = [],
        **kwargs):
    """What readme_test.py checks, of one document.

    Args:
      name: of the test; a lesson's is lesson_NN_readme_test.
      document: its path from the root of the workspace.
      programs: labels of the programs that its commands run.
      figures: regexes; numbers are any numbers in lines that match at their start.
      words: regexes; what follows the match, at the start of a line, is anything.
      maybe: regexes; lines that match at their start may be missing.
      with_flags: more flags for the commands whose output the document shows.
      shorten: flags that the other commands run with, if their programs know them.
      not_run: regexes; commands that match, anywhere, are checked but not run.
      sources: {label of a program that not every machine can build: the source file with its flags}
      data: the document, and the files that its commands read.
      **kwargs: of sh_test.
    """
    native.sh_test(
        name = name,
        size = kwargs.pop("size", "large"),
        srcs = ["//tests/lessons:readme_test.py"],
        args = [document] +
               ["--program=%s=$(rootpath %s)" % (p, p) for p in programs] +
               ["--program=%s=$(rootpath %s)" % (p, s) for p, s in sources.items()] +
               _each("figures", figures) + _each("words", words) + _each("maybe", maybe) +
               _each("with", with_flags) + _each("shorten", shorten) + _each("not-run", not_run),
        data = ["//tests/docs:markdown.py"] + programs + sources.values() + data,
        # The programs use all cores, and wait for each of them at every step.
        tags = [
            "cpu:2",
            "no_sanitizers",  # minutes
        ],
        **kwargs
    )
