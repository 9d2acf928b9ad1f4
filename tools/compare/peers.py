"""The programs that others use, beside ours: where they are installed, and how they are called."""

import json
import os
import pathlib
import subprocess
import sys

import measure

HERE = pathlib.Path(__file__).resolve().parent
# Where benchmarks/llama_cpp_peer.py puts llama.cpp, compiled for this machine.
LLAMA_CPP = pathlib.Path.home() / ".cache" / "aios" / "llama_cpp_peer" / "bin" / "python"

# Name, script, its own flags, what Python must have, how to get it, whether it is for a GPU only:
# compiling for a CPU takes minutes and gains little.
PEERS = [
    ("llama.cpp", "peer_llama_cpp.py", [], ["llama_cpp", "numpy"],
     "python3 benchmarks/llama_cpp_peer.py MODEL.gguf installs it", False),
    ("transformers eager", "peer_transformers.py", ["--mode=eager"], ["torch", "transformers"],
     "pip install torch transformers gguf accelerate", False),
    ("transformers compile", "peer_transformers.py", ["--mode=compile"], ["torch", "transformers"],
     "pip install torch transformers gguf accelerate", True),
]


def python_with(modules, pythons):
    """The first of the Pythons that has all the modules, or None."""
    test = f"import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, {modules!r})))"
    for python in pythons:
        try:
            if subprocess.run([python, "-c", test], capture_output=True, timeout=60,
                              check=False).returncode == 0:
                return str(python)
        except (OSError, subprocess.TimeoutExpired):
            continue
    return None


def entries(pythons, model, options, folder, baseline, on_gpu):
    """An Entry for every peer; one that cannot run has its `failure` said already.

    `baseline()` is the lesson whose prompts, as token ids, and whose numbers of tokens they get.
    `folder` is for files that they read.
    """
    pythons = [*pythons, sys.executable, LLAMA_CPP]
    result = []
    for name, script, flags, modules, how, gpu_only in PEERS:
        entry = measure.Entry(name, None, "peer", options.max_new_tokens)
        python = python_with(modules, pythons)
        if gpu_only and not on_gpu:
            entry.failure = "not run: on a CPU, compiling takes minutes"
        elif python is None:
            entry.failure = f"not installed: {how} (--peer-python PATH if it is elsewhere)"
        entry.command = lambda c=[python, str(HERE / script), *flags]: [
            *c, *flags_of(model, options, pathlib.Path(folder), baseline(), on_gpu)]
        result.append(entry)
    return result


def flags_of(model, options, folder, baseline, on_gpu):
    """What the peers are asked for: the work of the baseline's first answer."""
    if baseline is None:
        raise measure.Failure("not run: no lesson gave the prompts' token ids")
    report = baseline.reports[0]
    run = next(run for run in report["runs"] if run["name"] == "after")
    new = options.max_new_tokens if options.ignore_eos else None
    (folder / "peers.json").write_text(json.dumps(
        [{"ids": output["prompt_ids"], "new_tokens": new or len(output["tokens"])}
         for output in run["outputs"]]))
    (folder / "shape.json").write_text(json.dumps(report.get("model", {})))
    dtype = options.dtype if options.dtype != "auto" else "bf16" if on_gpu else "f32"
    threads = options.threads or report.get("machine", {}).get("threads") or os.cpu_count()
    return [*([f"--model={model}"] if model and model.suffix == ".gguf" else []),
            f"--shape={folder / 'shape.json'}", f"--prompts={folder / 'peers.json'}",
            f"--backend={'cuda' if on_gpu else 'cpu'}", f"--dtype={dtype}", f"--threads={threads}"]
