"""Writes trace.json: what each layer of the tiny checkpoints computes, by transformers.

    pip install torch==2.15.0 transformers==5.17.0
    python3 make_trace.py

For each checkpoint: tokens; for each layer the residual stream of the last token as it comes in,
after attention and after the feed-forward block, the attention weights [n_heads][n_tokens]
[n_tokens], the gate before silu and what w_down reads, of the last token; and the logits of the
last token if the model ended after that layer ("logit lens"), by the model's own norm and head.
"""

import json
import pathlib

import torch
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).parent
N_TOKENS = 12
TEXT = "Hello world"  # for mistral, with the vocabulary of sentencepiece/: <s> and its ids


def numbers(tensor):
    """As floats with 8 digits: more than f32 has."""
    rounded = lambda text: float(f"{float(text):.8g}")
    return json.loads(json.dumps(tensor.tolist()), parse_float=rounded)


def tokens_of(folder):
    if folder.name != "mistral":
        return json.loads((folder / "golden.json").read_text())["prompt"][:N_TOKENS]
    texts = json.loads((HERE / "sentencepiece" / "golden.json").read_text())
    return [1] + next(entry["ids"] for entry in texts if entry["text"] == TEXT)


def trace(folder):
    tokens = tokens_of(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                 attn_implementation="eager").eval()
    seen = {}

    def keep(name, index, value):
        seen[name, index] = value[0, -1]

    for i, layer in enumerate(model.model.layers):
        layer.register_forward_pre_hook(
            lambda _, args, i=i: keep("residual", i, args[0]))
        layer.post_attention_layernorm.register_forward_pre_hook(
            lambda _, args, i=i: keep("after_attention", i, args[0]))
        layer.register_forward_hook(
            lambda _, args, out, i=i: keep("after_ffn", i, out if torch.is_tensor(out) else out[0]))
        layer.mlp.gate_proj.register_forward_hook(
            lambda _, args, out, i=i: keep("gate", i, out))
        layer.mlp.down_proj.register_forward_pre_hook(
            lambda _, args, i=i: keep("ffn_hidden", i, args[0]))
    with torch.no_grad():
        result = model(torch.tensor([tokens]), output_attentions=True, output_hidden_states=True)
        layers = []
        for i, weights in enumerate(result.attentions):
            # hidden_states has what goes into each layer, and at its end what the final norm gives.
            assert torch.equal(result.hidden_states[i][0, -1], seen["residual", i])
            layer = {name: seen[name, i]
                     for name in ("residual", "after_attention", "after_ffn", "gate", "ffn_hidden")}
            layer["attn_weights"] = weights[0]
            layer["logits"] = model.lm_head(model.model.norm(layer["after_ffn"]))
            layers.append({name: numbers(value) for name, value in layer.items()})
        assert torch.allclose(model.lm_head(model.model.norm(seen["after_ffn", i])),
                              result.logits[0, -1], atol=1e-6)
    return {"tokens": tokens, "layers": layers}


golden = {name: trace(HERE / "tiny" / name) for name in ("llama_tied", "mistral", "qwen2", "qwen3")}
(HERE / "trace.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
