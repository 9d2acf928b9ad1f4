"""system_library: a library that the system's package manager installed, as a Bazel repository.

The target is @NAME//:NAME, or for short @NAME. pkg-config says where it is and how to link it. Its
headers are symlinked into the repository and searched as system headers (-isystem), so that our
warnings do not apply to them.

A library that is missing is an error only when a target that needs it is built.
"""

_BUILD = """# Written by bazel/system_library.bzl from `pkg-config {pkg_config}`.
cc_library(
    name = "{name}",
    testonly = {testonly},
    hdrs = glob(["include/**"]),
    defines = {defines},
    includes = ["include"],
    linkopts = {linkopts},
    visibility = ["//visibility:public"],
    deps = {deps},
)
"""

def _missing(ctx, what):
    fail(("{what}: install the Debian package {package} (`apt-get install {package}`), or run " +
          "./bazelw in place of bazel, which installs all that is missing.").format(
        what = what,
        package = ctx.attr.debian_package,
    ))

def _pkg_config(ctx, args):
    """The words that pkg-config prints, or None if there is no such program or no such library."""
    tool = ctx.which("pkg-config")
    if not tool:
        return None
    result = ctx.execute([tool] + args)
    if result.return_code != 0:
        return None
    return [word for word in result.stdout.replace("\n", " ").split(" ") if word]

def _system_library_impl(ctx):
    name = ctx.attr.pkg_config or ctx.name
    cflags = _pkg_config(ctx, ["--cflags", name])
    linkopts = _pkg_config(ctx, ["--libs", name])
    include_dirs = ["/usr/include", "/usr/local/include"]
    defines = list(ctx.attr.defines)

    if cflags == None or linkopts == None:
        if not ctx.attr.header_only:
            _missing(ctx, "pkg-config does not find '%s'" % name)
        cflags, linkopts = [], []  # Some distributions ship headers without a .pc file.
    else:
        include_dirs = (_pkg_config(ctx, ["--variable=includedir", name]) or []) + include_dirs
        include_dirs = [flag[2:] for flag in cflags if flag.startswith("-I")] + include_dirs
        defines += [flag[2:] for flag in cflags if flag.startswith("-D")]

    for header in ctx.attr.headers:
        found = [ctx.path(d + "/" + header) for d in include_dirs if ctx.path(d + "/" + header).exists]
        if not found:
            _missing(ctx, "the header '%s' of %s is not in %s" % (header, name, include_dirs[0]))
        ctx.symlink(found[0], "include/" + header)

    ctx.file("BUILD", _BUILD.format(
        name = ctx.name,
        pkg_config = name,
        testonly = ctx.attr.test_only,
        defines = repr(defines),
        linkopts = repr(linkopts),
        deps = repr(ctx.attr.deps),
    ), executable = False)

system_library = repository_rule(
    implementation = _system_library_impl,
    local = True,  # Looked at again by each Bazel server: an upgrade of the system is seen.
    environ = ["PATH", "PKG_CONFIG_PATH"],
    attrs = {
        "debian_package": attr.string(mandatory = True, doc = "What to install if it is missing."),
        "defines": attr.string_list(doc = "Beyond those that pkg-config gives."),
        "deps": attr.string_list(doc = "Labels of libraries whose headers its headers include."),
        "header_only": attr.bool(doc = "Needs no .pc file: headers in a default folder will do."),
        "headers": attr.string_list(mandatory = True, doc = "Headers, or folders of them."),
        "pkg_config": attr.string(doc = "The name that pkg-config knows; by default, the name."),
        "test_only": attr.bool(doc = "For tests and benchmarks alone."),
    },
)
