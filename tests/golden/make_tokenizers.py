"""Writes the tokenizers' golden data that Hugging Face's `tokenizers` computes.

    pip install tokenizers==0.23.3 gguf==0.19.0
    python3 make_tokenizers.py SMOLLM2.gguf

tokenizers/random.json        random texts, and their ids by each tokenizer
tokenizers/flags/             a tokenizer with every flag of added tokens, and texts for it
tokenizers/qwen2/qwen2.gguf   the vocabulary of qwen2/tokenizer.json as GGUF metadata
"""

import json
import pathlib
import random
import sys
import unicodedata

import gguf
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers

HERE = pathlib.Path(__file__).parent / "tokenizers"
SPACES = [" ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u0085", "\u2028", "\u3000", "\u2003", "\v", "\f"]
WORDS = ["'s", "'LL", "'\u017f", "'Ve", "'t", "''", "\u2019s", "'re", "'D", "can't", "Hello", "the",
         "world", "int", "==", "->", "...", "\u212aelvin", "na\u00efve", "123", "4567", "\u0663\u0664",
         "\u00bd", "\u2167", "\u4f60\u597d", "\u4e16\u754c", "\u041f\u0440\u0438", "\u1112\u1161\u11ab",
         "e\u0301\u0323", "\u0344", "\u212b", "\u0958", "\U0001f469\u200d\U0001f680", "\u200d", "<|im_",
         "<|im_end|>", "<|eot_id|>", "<|endoftext|>", "|>", "\x00", "\x1f", "x" * 40, "=" * 30, "_"]
# Assigned, and known to the Unicode 9 tables with which `tokenizers` normalizes.
OLD = [chr(c) for c in range(0x20000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")
       and (unicodedata.combining(chr(c)) == 0 or c in range(0x300, 0x370))]


def random_texts(n):
    rng = random.Random(20240601)
    texts = []
    for _ in range(n):
        kinds = rng.choices([SPACES, WORDS, OLD, [chr(c) for c in range(128)]], k=rng.randint(1, 7))
        texts.append("".join(rng.choice(kind) for kind in kinds))
    return texts


def smollm2(path):
    fields = gguf.GGUFReader(path).fields
    read = lambda key: fields["tokenizer.ggml." + key].contents()
    tokens, types = read("tokens"), read("token_type")
    merges = [tuple(merge.split(" ")) for merge in read("merges")]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True),
         pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.add_special_tokens([t for t, kind in zip(tokens, types) if kind == 3])
    return tokenizer


def write(path, value):
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n")


def encode(tokenizer, text, special):
    tokenizer.encode_special_tokens = not special
    return tokenizer.encode(text, add_special_tokens=False).ids


def make_random(model):
    tokenizers = {name: Tokenizer.from_file(str(HERE / name / "tokenizer.json"))
                  for name in ("gpt2", "llama3", "qwen2")}
    tokenizers["smollm2"] = smollm2(model)
    texts = random_texts(320)
    write(HERE / "random.json",
          {"texts": texts,
           "ids": {name: [encode(t, text, True) for text in texts] for name, t in tokenizers.items()},
           "ids_as_text": {name: [encode(t, text, False) for text in texts[:80]]
                           for name, t in tokenizers.items()}})


def make_flags():
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    source = pathlib.Path(__file__).read_text()
    trainer = trainers.BpeTrainer(vocab_size=400, show_progress=False, special_tokens=["<s>"],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([source], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 0)])
    tokenizer.add_special_tokens([
        AddedToken("<left>", lstrip=True), AddedToken("<right>", rstrip=True),
        AddedToken("<both>", lstrip=True, rstrip=True), AddedToken("<word>", single_word=True)])
    tokenizer.add_tokens([
        AddedToken("user", normalized=False), AddedToken("users!", normalized=False),
        AddedToken("alone", single_word=True, normalized=False),
        AddedToken("caf\u00e9", normalized=True), AddedToken("  ", normalized=False)])
    pieces = ["<left>", "<right>", "<both>", "<word>", "<s>", "user", "users!", "alone", "caf\u00e9",
              "cafe\u0301", "  ", " ", "\n", "x", "_", "\u00e9", "\u0301", ".", "\u3000", "import", "9"]
    rng = random.Random(7)
    texts = ["".join(rng.choices(pieces, k=rng.randint(1, 6))) for _ in range(200)]
    (HERE / "flags").mkdir(exist_ok=True)
    write(HERE / "flags" / "tokenizer.json", json.loads(tokenizer.to_str()))
    write(HERE / "flags" / "golden.json",
          [{"text": text, "ids": encode(tokenizer, text, True),
            "ids_as_text": encode(tokenizer, text, False)} for text in texts])


def make_gguf():
    source = json.loads((HERE / "qwen2" / "tokenizer.json").read_text())
    tokens = sorted(source["model"]["vocab"], key=source["model"]["vocab"].get)
    types = [gguf.TokenType.NORMAL] * len(tokens)
    for token in source["added_tokens"]:
        tokens.append(token["content"])
        types.append(gguf.TokenType.CONTROL)
    tokens.append("[PAD3003]")
    types.append(gguf.TokenType.UNUSED)
    writer = gguf.GGUFWriter(HERE / "qwen2" / "qwen2.gguf", "qwen2")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(pair) for pair in source["model"]["merges"]])
    writer.add_bos_token_id(3000)
    writer.add_add_bos_token(False)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    make_random(sys.argv[1])
    make_flags()
    make_gguf()
