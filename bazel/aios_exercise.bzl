"""aios_exercise: an exercise of a lesson; aios_checks: the grading of a reader's solutions;
exercise_test: the proof that a grader accepts the reference, and neither the stub nor likely
mistakes.

An exercise NAME is three files in the lesson's folder exercise/:

    NAME.h         the contract: what the reader reads
    NAME.cc        the reference. The stub is the same file without what stands between
                   // BEGIN SOLUTION and // END SOLUTION: tools/exercises/make_stub.py
    NAME_check.cc  the grader's main(), of parts from tools/exercises/grader.h
"""

load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_library", "cc_test")

_FOR_READERS = [
    "//exercises:__subpackages__",
    "//tests:__subpackages__",
]

def aios_exercise(name, deps = [], speed = False, grader_hdrs = []):
    """An exercise of the lesson in whose BUILD file this stands.

    Args:
      name: of the exercise; its files are exercise/NAME.h, NAME.cc, NAME_check.cc.
      deps: libraries that a solution may use.
      speed: the grader times the solution, so that sanitizers would spoil it.
      grader_hdrs: headers of a grader that is more than one file.
    """
    cc_library(
        name = name + "_contract",
        hdrs = ["exercise/%s.h" % name],
        includes = ["exercise"],  # "NAME.h", as a reader's copy is included
        visibility = _FOR_READERS,
        deps = deps,
    )
    cc_library(
        name = name + "_grader",
        testonly = True,
        srcs = ["exercise/%s_check.cc" % name] + grader_hdrs,
        visibility = _FOR_READERS,
        deps = [
            name + "_contract",
            "//tools/exercises:grader",
        ],
        alwayslink = True,  # it has main()
    )
    native.genrule(
        name = name + "_stub",
        srcs = ["exercise/%s.cc" % name],
        outs = ["stubs/%s.cc" % name],
        cmd = "$(location //tools/exercises:make_stub.py) $< %s >$@" % native.package_name(),
        tools = ["//tools/exercises:make_stub.py"],
        visibility = _FOR_READERS,
    )
    native.filegroup(
        name = name + "_files",
        srcs = [
            "exercise/%s.h" % name,
            name + "_stub",
        ],
        visibility = ["//tests:__subpackages__"],
    )
    native.exports_files(
        ["exercise/%s.cc" % name],
        visibility = ["//tests:__subpackages__"],
    )

    # The reference passes its own check, under the sanitizers too.
    cc_test(
        name = name + "_reference_test",
        size = "small",
        srcs = ["exercise/%s.cc" % name],
        tags = ["no_sanitizers"] if speed else [],
        deps = [
            name + "_contract",
            name + "_grader",
        ],
    )

def _program(name, srcs, grader, contract, copts = []):
    """The grader, linked with one solution."""
    cc_binary(
        name = name,
        testonly = True,
        srcs = srcs,
        copts = copts,
        tags = ["manual"],
        deps = [contract, grader],
    )

def aios_checks(lesson, exercises):
    """Grades what a reader wrote: NAME_check for each exercise, `check` for all of them.

    All are tagged "manual": `bazel test //...` leaves alone what a reader has not finished.

    Args:
      lesson: the lesson's label, such as "//lessons/04_kv_cache".
      exercises: the names of its exercises; NAME.cc lies beside this BUILD file.
    """
    for name in exercises:
        _program(
            name = name,
            srcs = [name + ".cc"] + native.glob(["*.h"]),
            contract = "%s:%s_contract" % (lesson, name),
            grader = "%s:%s_grader" % (lesson, name),
        )
        native.sh_test(
            name = name + "_check",
            size = "small",
            srcs = ["//tools/exercises:run_check.py"],
            args = [
                name,
                "$(location :%s)" % name,
            ],
            data = [":" + name],
            tags = ["manual"],
        )
    native.test_suite(
        name = "check",
        tags = ["manual"],
        tests = [name + "_check" for name in exercises],
    )

def _quoted(text):
    """As one word of a shell command, in a genrule."""
    return "'%s'" % text.replace("'", "'\\''").replace("$", "$$")

def exercise_test(lesson, exercise, mutants):
    """Proves a grader: it passes the reference, and refuses stub and mutants, each with its hint.

    Args:
      lesson: the lesson's name, such as "04_kv_cache".
      exercise: the exercise's name.
      mutants: a plausible mistake -> (text of the reference, what it becomes, part of the hint that
        the grader must give). The text must occur once.
    """
    package = "//lessons/" + lesson
    contract = "%s:%s_contract" % (package, exercise)
    grader = "%s:%s_grader" % (package, exercise)
    reference = "%s:exercise/%s.cc" % (package, exercise)
    programs = {
        "reference": reference,
        "stub": "%s:%s_stub" % (package, exercise),
    }
    args = ["reference", "''", "stub", "''"]
    for mutant, (old, new, hint) in mutants.items():
        rule = "%s_%s_cc" % (exercise, mutant)
        native.genrule(
            name = rule,
            srcs = [reference],
            outs = ["mutants/%s/%s/%s.cc" % (lesson, exercise, mutant)],
            cmd = "$(location //tools/exercises:mutate.py) $< %s %s >$@" % (_quoted(old), _quoted(new)),
            tags = ["manual"],
            tools = ["//tools/exercises:mutate.py"],
        )
        programs[mutant] = rule
        args += [mutant, _quoted(hint)]
    for variant, src in programs.items():
        # -w: a mistake may leave a variable unused.
        _program(exercise + "_" + variant, [src], grader, contract, copts = ["-w"])
    native.sh_test(
        name = exercise + "_test",
        size = "medium",
        srcs = ["exercise_test.py"],
        args = ["$(location :%s_reference)" % exercise] + args,
        data = [":%s_%s" % (exercise, v) for v in programs] + ["//tools/exercises:run_check.py"],
        tags = ["no_sanitizers"],
    )
