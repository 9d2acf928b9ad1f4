#!/usr/bin/env python3
"""Hugging Face transformers on the prompts of a comparison: peer_transformers.py --prompts FILE ...

Needs torch and transformers 5. Greedy, one prompt after another. --mode eager: as it comes, with a
cache that grows; compile: torch.compile over a static cache, with CUDA graphs on a GPU.

With --model and the packages gguf and accelerate, the file's weights, which transformers turns into
--dtype; else random weights of the --shape, which take the same time.
"""

import importlib.util
import time

import peer

try:
    import torch
    import transformers
except ImportError as import_error:
    peer.fail(import_error)


def config_of(shape):
    """The shape as transformers calls it. Its architecture's own, or Llama's."""
    kinds = {"qwen2": transformers.Qwen2Config, "qwen3": transformers.Qwen3Config,
             "mistral": transformers.MistralConfig}
    kind = kinds.get(shape["architecture"], transformers.LlamaConfig)
    return kind(
        hidden_size=shape["d_model"], num_hidden_layers=shape["n_layers"],
        num_attention_heads=shape["n_heads"], num_key_value_heads=shape["n_kv_heads"],
        head_dim=shape["head_dim"], intermediate_size=shape["d_ff"], vocab_size=shape["vocab_size"],
        max_position_embeddings=8192, tie_word_embeddings=peer.tied(shape))


def load(options, dtype, device):
    """The model, and what its weights are."""
    if options.model and all(map(importlib.util.find_spec, ("gguf", "accelerate"))):
        model = transformers.AutoModelForCausalLM.from_pretrained(
            options.model.parent, gguf_file=options.model.name, dtype=dtype)
        return model.to(device).eval(), "the file's weights, dequantized"
    if options.shape is None:
        peer.fail("reading the model takes the packages gguf and accelerate, or else give --shape")
    torch.manual_seed(1)
    torch.set_default_dtype(dtype)
    with torch.device(device):
        model = transformers.AutoModelForCausalLM.from_config(config_of(options.shape))
    return model.eval(), "random weights of the same shape"


def bytes_per_token(model):
    """Every weight; but of an embedding that is not also the output, one row is read."""
    embedding = model.get_input_embeddings().weight
    total = sum(p.numel() * p.element_size() for p in model.parameters())
    is_tied = model.get_output_embeddings().weight is embedding
    return total - (0 if is_tied else embedding.numel() * embedding.element_size())


class Generator:
    """The loop. The chosen token stays on the device; nothing waits for it but the clock."""

    def __init__(self, model, compiled, longest):
        self.model, self.longest = model, longest
        self.device = model.device
        self.static = transformers.StaticCache(
            config=model.config, max_cache_len=longest) if compiled else None
        self.decode = torch.compile(
            model.forward, mode="reduce-overhead", fullgraph=True) if compiled else model.forward

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def step(self, forward, ids, position, cache):
        positions = torch.arange(position, position + ids.shape[1], device=self.device)[None]
        out = forward(input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True,
                      logits_to_keep=1)
        return out.logits[:, -1].argmax(-1, keepdim=True)

    @torch.no_grad()
    def __call__(self, prompt):
        if self.static is not None:
            self.static.reset()
        cache = transformers.DynamicCache() if self.static is None else self.static
        ids = torch.tensor([prompt["ids"]], device=self.device)
        start = self.wait()
        tokens = [self.step(self.model.forward, ids, 0, cache)]
        first = self.wait()
        for i in range(prompt["new_tokens"] - 1):
            # A CUDA graph writes its result to the same place each time.
            tokens.append(self.step(self.decode, tokens[-1], ids.shape[1] + i, cache).clone())
        end = self.wait()
        return {"prompt_ids": prompt["ids"], "tokens": torch.cat(tokens, 1)[0].tolist(),
                "first_token_seconds": first - start, "decode_seconds": end - first}


def main():
    options = peer.parse_arguments(__doc__, ["eager", "compile"])
    if options.backend == "cuda" and not torch.cuda.is_available():
        peer.fail("this torch sees no GPU")
    torch.set_num_threads(options.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    model, note = load(options, torch.float32 if options.dtype == "f32" else torch.bfloat16,
                       options.backend)
    longest = max(len(p["ids"]) + p["new_tokens"] for p in options.prompts)
    generator = Generator(model, options.mode == "compile", longest)
    # Compiling, recording graphs, loading kernels: none of it is to be timed. A graph is replayed
    # from the third step on.
    for prompt in options.prompts:
        generator({"ids": prompt["ids"], "new_tokens": min(8, prompt["new_tokens"])})
    outputs = [generator(prompt) for prompt in options.prompts]
    peer.write_report(
        f"transformers {transformers.__version__}, torch {torch.__version__}", note,
        {"backend": options.backend, "dtype": options.dtype,
         "bytes_per_token": bytes_per_token(model)},
        outputs, "random" if note.startswith("random") else "the model's")


if __name__ == "__main__":
    main()
