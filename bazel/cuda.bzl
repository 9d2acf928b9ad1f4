"""cuda_library, cuda_binary, cuda_test: cc_library, cc_binary and cc_test whose srcs may be CUDA.

    cuda_library(
        name = "gemv",
        srcs = ["gemv.cu"],  # .cu files go to nvcc, .cc files to the C++ compiler.
        hdrs = ["gemv.h"],
        deps = [":check"],
    )

The GPUs to compile for: --//bazel:cuda_archs=80,89,90a (default: 90a, Hopper with all that it has).
With 90a among them, .cu files are compiled with AIOS_CUDA_SM90A defined.

Where there is no CUDA toolkit, and under the sanitizers, which cannot see into a GPU, these targets
do not exist for `bazel test //...`: it reports them as skipped. What can do without them says
`deps = [...] + if_cuda([...])`.
"""

load("@cuda//:defs.bzl", "CUDA_AVAILABLE", "NVCC")
load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_library", "cc_test")

CUDA_REQUIRED = select({
    "//bazel:without_cuda": ["@platforms//:incompatible"],
    "//conditions:default": ["@cuda//:required"],
})

def if_cuda(labels, otherwise = []):
    """`labels` where CUDA code can be built, else `otherwise`."""
    return select({
        "//bazel:without_cuda": otherwise,
        "//conditions:default": labels if CUDA_AVAILABLE else otherwise,
    })

# ---- The flag ------------------------------------------------------------------------------------

_Archs = provider(fields = ["archs"])

def _cuda_archs_impl(ctx):
    archs = [a for value in ctx.build_setting_value for a in value.split(",")]
    for arch in archs:
        if not arch.rstrip("af").isdigit():
            fail("--//bazel:cuda_archs=%s: not the number of an architecture, such as 80 or 90a" % arch)
    return [_Archs(archs = archs)]

cuda_archs = rule(
    implementation = _cuda_archs_impl,
    build_setting = config.string_list(flag = True),
)

# ---- nvcc ----------------------------------------------------------------------------------------

def _gencode(archs):
    flags = ["-gencode=arch=compute_%s,code=sm_%s" % (a, a) for a in archs]

    # The newest plain one also as PTX, which the driver can compile for GPUs that came later.
    plain = sorted([int(a) for a in archs if a.isdigit()])
    if plain:
        flags.append("-gencode=arch=compute_%d,code=compute_%d" % (plain[-1], plain[-1]))
    return flags

def _cuda_objects_impl(ctx):
    archs = ctx.attr._archs[_Archs].archs
    context = cc_common.merge_cc_infos(cc_infos = [d[CcInfo] for d in ctx.attr.deps]).compilation_context
    objects = []
    for src in ctx.files.srcs:
        out = ctx.actions.declare_file("_cuda/%s/%s.o" % (ctx.label.name, src.basename))
        args = ctx.actions.args()
        args.add_all(["-std=c++20", "-O3", "-lineinfo", "--compress-mode=size"])
        args.add_all(["-Xcompiler=-fPIC,-Wall,-Wextra,-Werror", "-Werror=all-warnings"])
        args.add_all(_gencode(archs))
        if "90a" in archs:
            args.add("-DAIOS_CUDA_SM90A=1")
        args.add_all(context.defines, format_each = "-D%s")
        args.add("-I.")
        args.add_all(context.quote_includes, before_each = "-I")
        args.add_all(context.includes, before_each = "-I")
        args.add_all(context.system_includes, before_each = "-isystem")
        args.add_all(ctx.attr.copts)
        args.add_all(["-c", src, "-o", out])
        ctx.actions.run(
            executable = NVCC,
            arguments = [args],
            inputs = depset([src] + ctx.files.hdrs, transitive = [context.headers]),
            outputs = [out],
            mnemonic = "CudaCompile",
            progress_message = "Compiling %s for %s" % (src.short_path, ", ".join(["sm_" + a for a in archs])),
            use_default_shell_env = True,
        )
        objects.append(out)
    return [DefaultInfo(files = depset(objects))]

_cuda_objects = rule(
    implementation = _cuda_objects_impl,
    attrs = {
        "copts": attr.string_list(),
        "deps": attr.label_list(providers = [CcInfo]),
        "hdrs": attr.label_list(allow_files = True),
        "srcs": attr.label_list(allow_files = [".cu"], mandatory = True),
        "_archs": attr.label(default = "//bazel:cuda_archs"),
    },
)

def _cuda_target(rule, name, srcs, hdrs, deps, copts, nvcc_copts, **kwargs):
    cuda_srcs = [s for s in srcs if s.endswith(".cu")]
    headers = hdrs + [s for s in srcs if s.endswith(".h") or s.endswith(".cuh")]
    deps = deps + ["@cuda//:cudart"]
    common = {
        "tags": kwargs.pop("tags", []),
        "target_compatible_with": CUDA_REQUIRED,
        "testonly": kwargs.pop("testonly", rule == cc_test),
    }
    if cuda_srcs:
        _cuda_objects(
            name = name + ".objects",
            srcs = cuda_srcs,
            hdrs = headers,
            copts = nvcc_copts,
            deps = deps,
            **common
        )
    if rule == cc_library:
        kwargs["hdrs"] = hdrs
    rule(
        name = name,
        srcs = [s for s in srcs if not s.endswith(".cu") and not s.endswith(".cuh")] + ([":%s.objects" % name] if cuda_srcs else []),
        copts = copts,
        deps = deps,
        **dict(kwargs, **common)
    )

def cuda_library(name, srcs = [], hdrs = [], deps = [], copts = [], nvcc_copts = [], **kwargs):
    _cuda_target(cc_library, name, srcs, hdrs, deps, copts, nvcc_copts, **kwargs)

def cuda_binary(name, srcs, deps = [], copts = [], nvcc_copts = [], **kwargs):
    _cuda_target(cc_binary, name, srcs, [], deps, copts, nvcc_copts, **kwargs)

def cuda_test(name, srcs, deps = [], copts = [], nvcc_copts = [], **kwargs):
    _cuda_target(cc_test, name, srcs, [], deps, copts, nvcc_copts, **kwargs)
