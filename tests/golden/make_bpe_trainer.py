"""Writes bpe_trainer/golden.json: what Hugging Face's trainer makes of a few texts.

    pip install tokenizers==0.23.3
    python3 make_bpe_trainer.py

The trainer is deterministic: of pairs that are equally frequent it takes the one with the lowest
ids, and the alphabet's ids are in the order of its letters. The random texts, of few different
letters, are full of such ties.
"""

import json
import pathlib
import random

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).resolve().parent
MIXED = ("Ein Computer liest Zahlen, keine W\u00f6rter. \u8ba1\u7b97\u673a\u8bfb\u7684\u662f\u6570\u5b57\uff0c"
         "\u4e0d\u662f\u6587\u5b57\u3002 \u041a\u043e\u043c\u043f\u044c\u044e\u0442\u0435\u0440 "
         "\u0447\u0438\u0442\u0430\u0435\u0442 \u0447\u0438\u0441\u043b\u0430 \U0001f680\U0001f680\n\tit's 2024,  "
         "2025 ...\n") * 3


def train(text, vocab_size, min_count):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, min_frequency=min_count, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=[])
    tokenizer.train_from_iterator([text], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    return {"text": text, "vocab_size": vocab_size, "min_count": min_count, "tokens": tokens[256:],
            "alphabet": "".join(tokens[:256]), "merges": [list(merge) for merge in model["merges"]],
            "ids": tokenizer.encode(text).ids[:500]}


def main():
    rng = random.Random(1)
    license_text = (HERE.parents[1] / "LICENSE").read_text()
    cases = [train(license_text, 512, 2), train(MIXED, 400, 2), train(MIXED, 300, 1),
             train("aaaa aaa aa a aaaaaaa", 300, 1), train("x", 300, 1)]
    for letters in ("ab", "abc", "abcdefgh", "ab ", "a1. \n"):
        for _ in range(6):
            n = rng.randint(10, 300)
            text = "".join(rng.choices(letters + " ", k=n))
            cases.append(train(text, 256 + rng.randint(1, 60), rng.randint(1, 3)))
    (HERE / "bpe_trainer").mkdir(exist_ok=True)
    (HERE / "bpe_trainer" / "golden.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
