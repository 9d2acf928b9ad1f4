"""llama.cpp on this machine's CPU, beside which our figures stand: prefill and decode, tokens a second.

    python3 benchmarks/llama_cpp_peer.py MODEL.gguf [--threads N] [--venv FOLDER] [--json FILE]

Uses llama-cpp-python of the virtual environment FOLDER. If that does not exist yet it is made, and
llama.cpp is compiled there for this very CPU (-DGGML_NATIVE=ON; 10 to 30 minutes): a ready-made
wheel is for older CPUs, and slower. Prints JSON.

Prefill: a batch of --prompt-tokens tokens from an empty cache, of which only the last one's logits
are wanted. Decode: --decode-tokens tokens one by one after it. With --sequences N: instead, N prompts of
--prompt-tokens each, and then a token of each in every step. Token ids are drawn with a fixed seed,
which does not matter to the speed. One round to warm up, then the median of --rounds rounds, with all
of them listed. Its threads spin while they wait for one another: on a machine that does anything else
("load_average") the figures fall to a small part, and say nothing.
"""

import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import time
import venv

VERSION = "0.3.36"
DEFAULT_VENV = pathlib.Path.home() / ".cache" / "aios" / "llama_cpp_peer"


def flags():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--venv", type=pathlib.Path, default=DEFAULT_VENV)
    parser.add_argument("--json", type=pathlib.Path, help="also write the JSON there")
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--decode-tokens", type=int, default=128)
    parser.add_argument("--sequences", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if not options.model.is_file():
        parser.error(f"{options.model}: no such file")
    for name in ("threads", "prompt_tokens", "decode_tokens", "sequences", "rounds"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    return options


def python_of(folder):
    """The environment's Python; makes the environment and builds llama.cpp in it if need be."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True)
    if subprocess.run([python, "-c", "import llama_cpp"], capture_output=True).returncode != 0:
        print("compiling llama.cpp for this CPU, which takes a while", file=sys.stderr)
        environment = {**os.environ, "CMAKE_ARGS": "-DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON"}
        subprocess.run(
            [python, "-m", "pip", "install", "--no-binary", "llama-cpp-python",
             f"llama-cpp-python=={VERSION}"], env=environment, check=True, stdout=sys.stderr)
    return python


def rounds(llama, options):
    """(prefill seconds, decode seconds) of each round, through llama.cpp's own C interface: the
    Python wrapper would copy all logits of each token."""
    import llama_cpp

    context = llama.ctx
    draw = random.Random(1)
    n_vocab = llama.n_vocab()
    batch = llama_cpp.llama_batch_init(max(options.prompt_tokens, options.sequences), 0, 1)

    def step(rows):
        """rows: (sequence, position, whether its logits are wanted)."""
        batch.n_tokens = len(rows)
        for i, (sequence, position, wanted) in enumerate(rows):
            batch.token[i] = draw.randrange(n_vocab)
            batch.pos[i] = position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = wanted
        if llama_cpp.llama_decode(context, batch) != 0:
            sys.exit("llama_decode failed")
        llama_cpp.llama_synchronize(context)

    n = options.prompt_tokens
    sequences = range(options.sequences)
    for _ in range(options.rounds + 1):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        start = time.perf_counter()
        for s in sequences:
            step([(s, i, i == n - 1) for i in range(n)])
        prefilled = time.perf_counter()
        for i in range(options.decode_tokens):
            step([(s, n + i, True) for s in sequences])
        yield prefilled - start, time.perf_counter() - prefilled
    llama_cpp.llama_batch_free(batch)


def llama_of(options):
    """The model, with room for all sequences, kept apart from one another."""
    import llama_cpp

    length = options.prompt_tokens + options.decode_tokens
    if options.sequences == 1:
        return llama_cpp.Llama(
            str(options.model), n_ctx=length, n_batch=options.prompt_tokens,
            n_ubatch=options.prompt_tokens, n_threads=options.threads,
            n_threads_batch=options.threads, n_gpu_layers=0, verbose=False)

    class Context:  # what Llama has no argument for
        def __init__(self):
            llama_cpp.llama_backend_init()
            parameters = llama_cpp.llama_model_default_params()
            parameters.n_gpu_layers = 0
            self.model = llama_cpp.llama_model_load_from_file(
                str(options.model).encode(), parameters)
            parameters = llama_cpp.llama_context_default_params()
            parameters.n_ctx = length * options.sequences
            parameters.n_seq_max = options.sequences
            parameters.n_batch = max(options.prompt_tokens, options.sequences)
            parameters.n_ubatch = parameters.n_batch
            parameters.n_threads = parameters.n_threads_batch = options.threads
            self.ctx = llama_cpp.llama_init_from_model(self.model, parameters)

        def n_vocab(self):
            return llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))

    return Context()


def measure(options):
    import llama_cpp

    llama = llama_of(options)
    load = os.getloadavg()[0]
    seconds = list(rounds(llama, options))[1:]
    prefill = [options.sequences * options.prompt_tokens / prefill for prefill, _ in seconds]
    decode = [options.sequences * options.decode_tokens / decode for _, decode in seconds]
    return {
        "peer": "llama.cpp",
        "llama_cpp_python": llama_cpp.__version__,
        "system": llama_cpp.llama_print_system_info().decode().strip(" |"),
        "model": options.model.name,
        "threads": options.threads,
        "load_average": round(load, 2),
        "prompt_tokens": options.prompt_tokens,
        "decode_tokens": options.decode_tokens,
        "sequences": options.sequences,
        "prefill_tok_s": round(statistics.median(prefill), 1),
        "decode_tok_s": round(statistics.median(decode), 1),
        "prefill_tok_s_of_rounds": [round(x, 1) for x in prefill],
        "decode_tok_s_of_rounds": [round(x, 1) for x in decode],
    }


def main():
    options = flags()
    if pathlib.Path(sys.prefix).resolve() != options.venv.resolve():
        # Again, with the Python that has llama.cpp.
        python = python_of(options.venv)
        raise SystemExit(subprocess.run(
            [python, __file__, *sys.argv[1:], f"--venv={options.venv}"]).returncode)
    text = json.dumps(measure(options), indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
