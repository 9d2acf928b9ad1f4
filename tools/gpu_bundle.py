#!/usr/bin/env python3
"""Packs what is to run on a GPU into one archive, for a machine that has no Bazel:

    bazel run //tools:gpu_bundle -- /tmp/aios_gpu.tar.gz [--model]

There: tar xf aios_gpu.tar.gz && cd aios_gpu && ./run.sh (see ./run.sh --help). It needs the NVIDIA
driver and the libraries of CUDA 13 in /usr/local/cuda/lib64; what else the programs link to comes
with them. --model puts the default model (98 MB) in too, for the tests that need it.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

# Libraries that every Linux has, or that come with the driver and with CUDA.
NOT_PACKED = re.compile(
    r"(ld-linux|libc|libm|libdl|librt|libpthread|libcuda|libcublas|libcublasLt|libnccl)\b[.-]|.*vdso")

RUN_SH = """#!/bin/sh
# Runs what this archive holds. Results are printed; benchmarks and ladders also write JSON.
#
#   ./run.sh [tests] [sanitizer] [ladders] [benchmarks] [lessons] [peers]    default: tests ladders benchmarks
#   ./run.sh compare [FLAG ...]     the lessons, one beside the other; --help lists the flags
#
# sanitizer: the tests again under compute-sanitizer, memcheck and racecheck; minutes.
# lessons: lesson 04 on large shapes with random weights, three times each.
# peers: transformers' generate in batches of 32; PEER_BATCHES=K of them (default: 1).
# ONLY=PATTERN: of tests, sanitizer, ladders, benchmarks only the programs of such names: ONLY='*gemm*'
# RESULTS=FOLDER: where JSON goes (default: results); benchmarks/record.py --gpu FOLDER keeps it.
case "$1" in -h | --help) sed -n '2,12s/^# \\{0,1\\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")" || exit 2
export LD_LIBRARY_PATH="$PWD/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
if ! [ -e /dev/nvidia0 ]; then
  echo "error: there is no NVIDIA GPU here, and all of this is for one" >&2
  exit 2
fi
results="${RESULTS:-$PWD/results}"
mkdir -p "$results" || exit 2
cp COMMIT "$results"
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader >"$results/GPU"
if [ "$1" = compare ]; then
  shift
  for model in ../smollm2/*.gguf; do [ -e "$model" ] && set -- --default-model="$model" "$@"; done
  exec python3 tools/compare/compare.py --programs=programs --json="$results/ladder_gpu.json" \\
    --html="$results/ladder_gpu.html" "$@"
fi
filter="--gtest_filter=*"
if [ ! -e ../smollm2 ]; then
  filter="--gtest_filter=-*DefaultModel*"
  echo "without the default model: its tests are left out (see gpu_bundle --model)"
fi
only="${ONLY:-*}"
passed=0
failed=0

run() {
  echo "== $*"
  if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $*"; fi
}

for what in ${*:-tests ladders benchmarks}; do
  case "$what" in
    tests)
      for program in tests/bin/$only; do run "$program" --gtest_brief=1 "$filter"; done ;;
    sanitizer)
      for program in tests/bin/$only; do
        for tool in memcheck racecheck; do
          run compute-sanitizer --tool "$tool" --error-exitcode 9 "$program" --gtest_brief=1 \\
            "$filter"
        done
      done ;;
    ladders | benchmarks)
      for program in "$what"/$only; do
        case "$program" in *.py) continue ;; esac
        run "$program" --json "$results/$(basename "$program").json"
      done ;;
    lessons)
      for shape in llama-1b llama-8b; do
        for n in 1 2 3; do
          run programs/04_kv_cache --random-weights "$shape" --prompt-ids "$(seq -s, 1000 1511)" \\
            --max-new-tokens 128 --ignore-eos --json "$results/04_kv_cache.$shape.$n.json"
        done
      done ;;
    peers)
      python3 benchmarks/trace_peer.py --draw "$results/workload.json"
      for shape in qwen3-0.6b llama-8b; do
        run python3 benchmarks/trace_peer.py --shape "$shape" --workload "$results/workload.json" \\
          --limit "${PEER_BATCHES:-1}" --json "$results/trace_peer.$shape.json"
      done ;;
    *) echo "unknown: $what (see ./run.sh --help)" >&2; exit 2 ;;
  esac
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
"""


def fail(sentence):
    sys.exit(f"error: {sentence}")


def libraries_of(program):
    """The shared libraries of a program that may be missing elsewhere."""
    lines = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for line in lines.splitlines():
        match = re.match(r"\s*(\S+) => (/\S+)", line)
        if match and not NOT_PACKED.match(match[1]):
            yield match[1], match[2]


def commit():
    """What is packed; "+" if a file that git knows has changed since."""
    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=os.environ["BUILD_WORKSPACE_DIRECTORY"],
                              capture_output=True, text=True, check=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")


def pack(folder, kind, program):
    # tests/kernels/cuda/gemm_test and tests/kernels/ladder/gemm_test are two.
    name = "_".join(pathlib.Path(program).parts[1:]) if kind == "tests/bin" else os.path.basename(program)
    target = folder / kind / name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(os.path.realpath(program), target)
    target.chmod(0o755)
    subprocess.run(["strip", target], check=False)  # half the size
    for name, path in libraries_of(program):
        lib = folder / "lib" / name
        if not lib.exists():
            lib.parent.mkdir(exist_ok=True)
            shutil.copy(os.path.realpath(path), lib)


def main(arguments):
    # From the BUILD file: KIND=PROGRAM, data=FILE or FOLDER, model=FILE; then what the person said.
    packed = [argument.split("=", 1) for argument in arguments if re.match(r"[a-z/]+=", argument)]
    said = [argument for argument in arguments if not re.match(r"[a-z/]+=", argument)]
    with_model = "--model" in said
    names = [argument for argument in said if argument != "--model"]
    if len(names) != 1 or names[0].startswith("-"):
        fail("say where the archive goes: bazel run //tools:gpu_bundle -- /tmp/aios_gpu.tar.gz [--model]")
    archive = pathlib.Path(os.environ.get("BUILD_WORKING_DIRECTORY", ".")) / names[0]

    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary) / "aios_gpu"
        folder.mkdir()
        for kind, path in packed:
            if kind == "model":
                if with_model:
                    # The tests look for it where Bazel puts it, beside the main repository.
                    target = folder.parent / "smollm2" / os.path.basename(path)
                    target.parent.mkdir()
                    shutil.copy(path, target)
            elif kind == "data":
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                if os.path.isdir(path):
                    shutil.copytree(path, target)  # what Bazel's links point to
                else:
                    shutil.copy(path, target)
            else:
                pack(folder, kind, path)
        (folder / "COMMIT").write_text(commit() + "\n")
        (folder / "run.sh").write_text(RUN_SH)
        (folder / "run.sh").chmod(0o755)
        try:
            with tarfile.open(archive, "w:gz") as out:
                for entry in sorted(folder.parent.iterdir()):
                    out.add(entry, entry.name)
        except OSError as error:
            fail(f"{archive}: {error.strerror}")
    size = archive.stat().st_size / 1e6
    print(f"{archive}: {size:.1f} MB. There: tar xf {archive.name} && aios_gpu/run.sh")


if __name__ == "__main__":
    main(sys.argv[1:])
