"""cuda_toolkit: NVIDIA's CUDA toolkit, where there is one, as the Bazel repository @cuda.

    @cuda//:required   for target_compatible_with: without a toolkit the target is skipped
    @cuda//:cudart     the runtime, linked statically, with the toolkit's headers
    @cuda//:cublas_lt  cuBLASLt, linked dynamically
    @cuda//:defs.bzl   CUDA_AVAILABLE, NVCC

The toolkit is looked for in $CUDA_HOME, beside the nvcc on PATH, and in /usr/local/cuda. BUILD files
load bazel/cuda.bzl instead of this.
"""

_FOUND = """# Written by bazel/cuda_toolkit.bzl: CUDA in {home}.
package(default_visibility = ["//visibility:public"])

alias(
    name = "required",
    actual = "@platforms//os:linux",
)

cc_library(
    name = "cudart",
    # Without CCCL, thousands of files that only nvcc reads.
    hdrs = glob(["include/*.h", "include/*.hpp", "include/crt/**"]),
    includes = ["include"],
    linkopts = ["-L{home}/lib64", "-lcudart_static", "-ldl", "-lrt", "-lpthread"],
)

cc_library(
    name = "cublas_lt",
    linkopts = ["-L{home}/lib64", "-lcublasLt", "-Wl,-rpath,{rpath}"],
    deps = [":cudart"],
)
"""

_MISSING = """# Written by bazel/cuda_toolkit.bzl: there is no CUDA toolkit here.
package(default_visibility = ["//visibility:public"])

alias(
    name = "required",
    actual = "@platforms//:incompatible",
)

cc_library(name = "cudart")

cc_library(name = "cublas_lt")
"""

def _file(ctx, home, name):
    return ctx.path("%s/%s" % (home, name))

def _find_toolkit(ctx):
    """The toolkit's folder, or None."""
    candidates = []
    if ctx.os.environ.get("CUDA_HOME"):
        candidates.append(ctx.path(ctx.os.environ["CUDA_HOME"]))
    nvcc = ctx.which("nvcc")
    if nvcc:
        candidates += [nvcc.dirname.dirname, nvcc.realpath.dirname.dirname]
    candidates.append(ctx.path("/usr/local/cuda"))
    for home in candidates:
        files = ["bin/nvcc", "include/cuda_runtime_api.h", "include/cublasLt.h", "lib64/libcudart_static.a"]
        if not [f for f in files if not _file(ctx, home, f).exists]:
            return home
    return None

def _cuda_toolkit_impl(ctx):
    home = _find_toolkit(ctx)
    if home:
        ctx.symlink(home.get_child("include"), "include")

        # The link to the current version, so that a binary runs where the version is a later one.
        rpath = "/usr/local/cuda/lib64" if ctx.path("/usr/local/cuda/lib64").exists else str(home) + "/lib64"
        ctx.file("BUILD", _FOUND.format(home = home, rpath = rpath), executable = False)
    else:
        ctx.file("BUILD", _MISSING, executable = False)
    ctx.file("defs.bzl", "CUDA_AVAILABLE = %s\nNVCC = %r\n" % (
        home != None,
        str(_file(ctx, home, "bin/nvcc")) if home else "",
    ), executable = False)

cuda_toolkit = repository_rule(
    implementation = _cuda_toolkit_impl,
    configure = True,
    local = True,  # Looked at again by each Bazel server: a toolkit installed meanwhile is seen.
    environ = ["CUDA_HOME", "PATH"],
)
