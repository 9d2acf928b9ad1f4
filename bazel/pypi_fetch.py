"""Fetches one file out of a wheel on PyPI, shows progress, checks both sha256: for pypi_file.bzl.

What goes wrong is written as one sentence to --error-file, and the exit status is 2.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile


class FetchError(Exception):
    """Its text is the sentence for the user."""


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def bytes_under(folder):
    """The size of all files under a folder in which another process works."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.path.getsize(os.path.join(path, name))
            except OSError:
                pass  # Gone since it was listed.
    return total


def cause_of(log):
    """Why pip failed, in words that continue a sentence."""
    if "CERTIFICATE_VERIFY_FAILED" in log:
        return "this machine does not trust the certificate of the package index or of a proxy"
    if re.search("NewConnectionError|name resolution|timed out|unreachable|ProxyError", log):
        return "it reached no package index: there is no network, or a proxy is needed"
    errors = re.findall(r"^ERROR: (.*)", log, re.MULTILINE) or log.split("\n")
    return f"pip says '{errors[-1].strip()[:200]}'"


def download(args, folder):
    """Runs `pip download` and returns the wheel's path."""
    requirement = f"{args.package}=={args.version}"
    destination = os.path.join(folder, "wheel")
    temporary = os.path.join(folder, "tmp")
    os.mkdir(temporary)
    log_path = os.path.join(folder, "log")
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:",
        "--ignore-requires-python", "--disable-pip-version-check", "--no-input",
        "--retries=2", "--timeout=20", "--dest", destination, requirement,
    ]
    # The files of an own TMPDIR show how far pip has come: without a terminal it shows nothing.
    environment = dict(os.environ, TMPDIR=temporary)
    with open(log_path, "wb") as log:
        pip = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                               stderr=subprocess.STDOUT, env=environment)
    shown = -10
    while True:
        try:
            pip.wait(timeout=0.5)
            break
        except subprocess.TimeoutExpired:
            megabytes = bytes_under(folder) / 2**20
            percent = min(99, int(100 * megabytes / args.megabytes))
            if percent >= shown + 10:
                print(f"Downloading {args.out}: {percent}% of {args.megabytes} MiB",
                      file=sys.stderr, flush=True)
                shown = percent

    if pip.returncode != 0:
        with open(log_path, encoding="utf-8", errors="replace") as log:
            text = log.read().strip()
        if "No module named pip" in text:
            raise FetchError(
                f"{args.out} is fetched by Python's pip, and python3 has none: install the package "
                "python3-pip, or run ./bazelw in place of bazel, which does it.")
        raise FetchError(
            f"pip could not download {requirement}, which carries {args.out} ({args.megabytes} MiB), "
            f"because {cause_of(text)}: mend that (pip's own settings for index, proxy and "
            "certificates apply) and run the command again.")

    wheels = os.listdir(destination)
    if len(wheels) != 1:
        raise FetchError(f"pip downloaded {wheels} where one wheel of {requirement} was expected.")
    return os.path.join(destination, wheels[0])


def check(path, what, expected):
    found = sha256_of(path)
    if found != expected:
        raise FetchError(
            f"{what} has the sha256 {found}, but WORKSPACE expects {expected}: it was damaged or "
            "replaced on its way and was not used; run `python3 -m pip cache purge` and the command "
            "again, and if it stays so, do not trust the package index that pip is set to.")


def fetch(args):
    # Beside the result, so that the file is moved and not copied.
    with tempfile.TemporaryDirectory(dir=".") as folder:
        start = time.monotonic()
        wheel = download(args, os.path.abspath(folder))
        check(wheel, f"The wheel of {args.package} {args.version}", args.wheel_sha256)
        extracted = os.path.join(folder, "file")
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(args.file) as source, \
                    open(extracted, "wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        except (zipfile.BadZipFile, KeyError) as error:
            raise FetchError(f"The wheel of {args.package} has no file {args.file}: {error}.")
        check(extracted, args.file, args.file_sha256)
        os.replace(extracted, args.out)
        print(f"Downloaded {args.out} in {time.monotonic() - start:.0f} s; its sha256 is right.",
              file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for flag in ("package", "version", "wheel-sha256", "file", "file-sha256", "out", "error-file"):
        parser.add_argument("--" + flag, required=True)
    parser.add_argument("--megabytes", type=int, required=True)
    args = parser.parse_args()
    try:
        fetch(args)
    except (FetchError, OSError) as error:
        with open(args.error_file, "w", encoding="utf-8") as file:
            file.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
