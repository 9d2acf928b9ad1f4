"""aios_lesson: what every lesson's BUILD file says, in order to be read.

    aios_lesson(
        name = "04_kv_cache",
        srcs = ["main.cc"],
        new = ["//common/mm:page_table"],  # the capability that this lesson is about
        uses = ["//common/engine:lesson"],  # what earlier lessons brought
        exercises = ["page_table"],  # each has an aios_exercise (aios_exercise.bzl) above
    )

It makes the program `NAME`; `:readme`, the lesson's texts and pictures; and, if there are exercises,
`:start`, which copies their stubs to where a reader works on them.
"""

load("@rules_cc//cc:defs.bzl", "cc_binary")

def aios_lesson(name, srcs, new, uses = [], exercises = [], data = ["@smollm2//:model"], **kwargs):
    """The targets of one lesson.

    Args:
      name: the lesson's folder: `bazel run //lessons/NAME`.
      srcs: main.cc, and the files in which the lesson tells more.
      new: labels of the capability that the lesson brings.
      uses: labels of what it builds on.
      exercises: names of this package's aios_exercise targets, in the order to do them.
      data: files that the program opens; by default, the model.
      **kwargs: more for the cc_binary, such as local_defines.
    """
    cc_binary(
        name = name,
        srcs = srcs,
        data = data,
        visibility = [
            "//benchmarks:__pkg__",
            "//lessons:__pkg__",
            "//tests:__subpackages__",
            "//tools:__pkg__",
        ],
        deps = new + uses,
        **kwargs
    )

    # For the tests that hold the README to a real run and to what was measured.
    native.filegroup(
        name = "readme",
        srcs = ["README.md"] + native.glob([
            "expected/*",
            "pictures/*",
        ]),
        visibility = [
            "//:__pkg__",
            "//benchmarks:__pkg__",
            "//tests:__subpackages__",
        ],
    )

    if exercises:
        # For `bazel run //lessons:progress`: the names in order, and the stubs.
        native.genrule(
            name = "exercises",
            outs = ["exercises.txt"],
            cmd = "printf '%%s\\n' %s >$@" % " ".join(exercises),
            visibility = ["//lessons:__pkg__"],
        )
        native.filegroup(
            name = "stubs",
            srcs = [e + "_stub" for e in exercises],
            visibility = ["//lessons:__pkg__"],
        )
        native.sh_binary(
            name = "start",
            srcs = ["//tools/exercises:start.py"],
            args = [name] + ["$(rootpaths :%s_files)" % e for e in exercises],
            data = [e + "_files" for e in exercises],
            visibility = ["//tests:__subpackages__"],
        )
