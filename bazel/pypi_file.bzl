"""pypi_file: one file out of a wheel on PyPI, as a Bazel repository.

@NAME//:TARGET is the file, under the name that it has in the wheel; the rest of the wheel is not
kept. pip fetches it, so pip's configuration (index, proxy, certificates, cache) applies. The
sha256 of the wheel and of the file must be the ones that WORKSPACE states.
"""

_BUILD = """# Written by bazel/pypi_file.bzl: {file} of {package} {version}.
licenses({licenses})

exports_files(["{basename}"])

filegroup(
    name = "{target}",
    srcs = ["{basename}"],
    visibility = ["//visibility:public"],
)
"""

def _pypi_file_impl(ctx):
    python = ctx.which("python3")
    if not python:
        fail(("{name} is fetched by Python's pip, and there is no python3: install the packages " +
              "python3 and python3-pip, or run ./bazelw in place of bazel, which does it.").format(
            name = ctx.attr.package,
        ))

    basename = ctx.attr.file.split("/")[-1]
    ctx.report_progress("downloading %s (%d MiB)" % (basename, ctx.attr.megabytes))
    result = ctx.execute(
        [
            python,
            ctx.path(Label("//bazel:pypi_fetch.py")),
            "--package=" + ctx.attr.package,
            "--version=" + ctx.attr.version,
            "--wheel-sha256=" + ctx.attr.wheel_sha256,
            "--file=" + ctx.attr.file,
            "--file-sha256=" + ctx.attr.file_sha256,
            "--megabytes=%d" % ctx.attr.megabytes,
            "--out=" + basename,
            "--error-file=error",
        ],
        timeout = 7200,  # A slow line is not an error.
        quiet = False,  # Its progress goes to the terminal.
    )
    if result.return_code != 0:
        # The script says what is wrong in one sentence; without one it crashed, and has shown where.
        sentence = ctx.read("error") if ctx.path("error").exists else "bazel/pypi_fetch.py failed."
        fail(sentence.strip())

    ctx.file("BUILD", _BUILD.format(
        basename = basename,
        file = ctx.attr.file,
        licenses = repr(ctx.attr.licenses),
        package = ctx.attr.package,
        target = ctx.attr.target,
        version = ctx.attr.version,
    ), executable = False)

pypi_file = repository_rule(
    implementation = _pypi_file_impl,
    attrs = {
        "file": attr.string(mandatory = True, doc = "Its path inside the wheel."),
        "file_sha256": attr.string(mandatory = True),
        "licenses": attr.string_list(mandatory = True, doc = "As Bazel's licenses() names the kind."),
        "megabytes": attr.int(mandatory = True, doc = "The wheel's size, for the progress shown."),
        "package": attr.string(mandatory = True, doc = "The package's name on PyPI."),
        "target": attr.string(mandatory = True, doc = "The name of the target to make."),
        "version": attr.string(mandatory = True),
        "wheel_sha256": attr.string(mandatory = True),
    },
)
