#!/usr/bin/env python3
"""llama.cpp on the prompts of a comparison: peer_llama_cpp.py --model FILE.gguf --prompts FILE ...

Needs llama-cpp-python, compiled for this machine (benchmarks/llama_cpp_peer.py does that). Greedy;
through llama.cpp's own C interface, as its Python wrapper would copy the logits of each token. With
--shape alone it writes a GGUF file with random bf16 weights of that shape, once, to the system's
folder for temporary files.
"""

import ctypes
import os
import pathlib
import struct
import tempfile
import time

import peer


def metadata(shape):
    """The GGUF metadata of a Llama without a tokenizer."""
    def text(s):
        return struct.pack("<Q", len(s)) + s.encode()

    numbers = {
        "vocab_size": shape["vocab_size"], "context_length": 8192,
        "embedding_length": shape["d_model"], "block_count": shape["n_layers"],
        "feed_forward_length": shape["d_ff"], "attention.head_count": shape["n_heads"],
        "attention.head_count_kv": shape["n_kv_heads"], "rope.dimension_count": shape["head_dim"],
        "attention.key_length": shape["head_dim"], "attention.value_length": shape["head_dim"]}
    pairs = [text(f"llama.{key}") + struct.pack("<II", 4, value) for key, value in numbers.items()]
    pairs += [text("general.architecture") + struct.pack("<I", 8) + text("llama"),
              text("tokenizer.ggml.model") + struct.pack("<I", 8) + text("none"),
              text("llama.attention.layer_norm_rms_epsilon") + struct.pack("<If", 6, 1e-5),
              text("llama.rope.freq_base") + struct.pack("<If", 6, 5e5)]
    return struct.pack("<Q", len(pairs)) + b"".join(pairs)


def tensors(shape):
    """Name and shape of each, rows last, as GGUF has it."""
    d, ff, vocab = shape["d_model"], shape["d_ff"], shape["vocab_size"]
    q, kv = (shape[n] * shape["head_dim"] for n in ("n_heads", "n_kv_heads"))
    yield "token_embd.weight", (d, vocab)
    for layer in range(shape["n_layers"]):
        for name, dims in {"attn_norm": (d,), "attn_q": (d, q), "attn_k": (d, kv),
                           "attn_v": (d, kv), "attn_output": (q, d), "ffn_norm": (d,),
                           "ffn_gate": (d, ff), "ffn_up": (d, ff), "ffn_down": (ff, d)}.items():
            yield f"blk.{layer}.{name}.weight", dims
    yield "output_norm.weight", (d,)
    if not peer.tied(shape):
        yield "output.weight", (d, vocab)


def write_random_gguf(shape, path):
    """Norms are f32 and 1; the rest is bf16 of size 0.02, one random block of 32 MB over and over:
    no cache holds it, and llama.cpp does not know."""
    import numpy
    block = numpy.random.default_rng(1).normal(0, 0.02, 1 << 24).astype(numpy.float32)
    block = (block.view(numpy.uint32) >> 16).astype(numpy.uint16).tobytes()
    listed = list(tensors(shape))
    infos, offset = b"", 0
    for name, dims in listed:
        n = dims[0] * (dims[1] if len(dims) == 2 else 1)
        infos += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", len(dims))
        infos += struct.pack(f"<{len(dims)}QIQ", *dims, 0 if len(dims) == 1 else 30, offset)
        offset += -(-n * (4 if len(dims) == 1 else 2) // 32) * 32
    partial = path.with_suffix(f".{os.getpid()}")
    with partial.open("wb") as file:
        head = b"GGUF" + struct.pack("<IQ", 3, len(listed)) + metadata(shape) + infos
        file.write(head + bytes(-len(head) % 32))
        for _, dims in listed:
            if len(dims) == 1:
                data = struct.pack("<f", 1) * dims[0]
                file.write(data + bytes(-len(data) % 32))
                continue
            size = 2 * dims[0] * dims[1]
            for _ in range(size // len(block)):
                file.write(block)
            file.write(block[:size % len(block)] + bytes(-size % 32))
    partial.replace(path)


def model_file(options):
    if options.model:
        return options.model
    if options.shape["architecture"] not in ("llama", "mistral"):
        peer.fail("only Llama's shape can be written with random weights for llama.cpp")
    keys = ("d_model", "n_layers", "n_heads", "n_kv_heads", "d_ff", "vocab_size")
    name = "aios_random_" + "_".join(str(options.shape[key]) for key in keys) + ".gguf"
    path = pathlib.Path(tempfile.gettempdir()) / name
    if not path.exists():
        write_random_gguf(options.shape, path)
    return path


def generate(llama_cpp, context, vocab_size, prompt):
    """One answer; the batch is filled by hand, with the last token's logits wanted."""
    import numpy
    batch = llama_cpp.llama_batch_init(len(prompt["ids"]), 0, 1)

    def step(tokens, position):
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i] = token
            batch.pos[i] = position + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = i == len(tokens) - 1
        if llama_cpp.llama_decode(context, batch) != 0:
            peer.fail("llama_decode failed")
        logits = llama_cpp.llama_get_logits_ith(context, -1)  # waits for them
        row = numpy.ctypeslib.as_array(
            ctypes.cast(logits, ctypes.POINTER(ctypes.c_float)), (vocab_size,))
        return int(row.argmax())

    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    start = time.perf_counter()
    answer = [step(prompt["ids"], 0)]
    first = time.perf_counter()
    for i in range(prompt["new_tokens"] - 1):
        answer.append(step(answer[-1:], len(prompt["ids"]) + i))
    end = time.perf_counter()
    llama_cpp.llama_batch_free(batch)
    return {"prompt_ids": prompt["ids"], "tokens": answer,
            "first_token_seconds": first - start, "decode_seconds": end - first}


def main():
    options = peer.parse_arguments(__doc__)
    try:
        import llama_cpp
    except ImportError as error:
        peer.fail(error)
    if options.backend == "cuda" and not llama_cpp.llama_supports_gpu_offload():
        peer.fail("this llama-cpp-python was compiled without CUDA")
    longest = max(len(p["ids"]) for p in options.prompts)
    try:
        llama = llama_cpp.Llama(
            str(model_file(options)), n_batch=longest, n_ubatch=longest,
            n_ctx=max(len(p["ids"]) + p["new_tokens"] for p in options.prompts),
            n_threads=options.threads, n_threads_batch=options.threads,
            n_gpu_layers=-1 if options.backend == "cuda" else 0, verbose=False)
    except (ValueError, OSError) as error:
        peer.fail(error)
    vocab_size = llama.n_vocab()
    warm_up = {"ids": options.prompts[0]["ids"], "new_tokens": 2}
    generate(llama_cpp, llama.ctx, vocab_size, warm_up)
    outputs = [generate(llama_cpp, llama.ctx, vocab_size, prompt) for prompt in options.prompts]
    described = ctypes.create_string_buffer(128)
    llama_cpp.llama_model_desc(llama.model, described, 128)
    peer.write_report(
        f"llama-cpp-python {llama_cpp.__version__}", "weights as in the file, activations of 8 bits"
        if options.model else "random bf16 weights of the same shape",
        {"backend": options.backend, "dtype": described.value.decode().split()[-1],
         "bytes_per_token": llama_cpp.llama_model_size(llama.model) -
                            (0 if options.model or peer.tied(options.shape) else
                             2 * options.shape["vocab_size"] * options.shape["d_model"])},
        outputs, "the model's" if options.model else "random")


if __name__ == "__main__":
    main()
