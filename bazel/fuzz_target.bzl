"""fuzz_target: one function that must survive any input, as a test and as a fuzzer.

    fuzz_target(
        name = "gguf_fuzz",
        src = "gguf_fuzz.cc",  # Defines LLVMFuzzerTestOneInput.
        corpus = glob(["corpus/gguf/*"]),
        deps = ["//common/loader:gguf"],
    )

`bazel test :gguf_fuzz` gives the function each file of the corpus, with any compiler. To look for
new inputs (needs clang):

    bazel run --config=fuzz :gguf_fuzz_fuzzer -- -max_total_time=60 FOLDER
"""

load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_test")

def fuzz_target(name, src, deps, corpus, size = "small", tags = []):
    """Makes the test NAME and, under --config=fuzz, the program NAME_fuzzer.

    Args:
      name: of the test.
      src: the file that defines LLVMFuzzerTestOneInput.
      deps: what that file includes.
      corpus: inputs to start from; found crashes belong here too, so that they stay fixed.
      size: of the test.
      tags: of the test.
    """
    native.filegroup(
        name = name + "_corpus",
        srcs = corpus,
    )
    cc_test(
        name = name,
        size = size,
        srcs = [
            src,
            "//bazel:fuzz_replay_main.cc",
        ],
        args = ["$(rootpaths :%s_corpus)" % name] if corpus else [],
        data = [":%s_corpus" % name],
        tags = tags,
        deps = deps,
    )
    cc_binary(
        name = name + "_fuzzer",
        testonly = True,
        srcs = [src],
        linkopts = ["-fsanitize=fuzzer"],
        tags = [
            "fuzzer",
            "manual",
        ],
        target_compatible_with = select({
            "//bazel:fuzzing": [],
            "//conditions:default": ["@platforms//:incompatible"],
        }),
        deps = deps,
    )
