"""Writes sentencepiece/: a small vocabulary as .model and as GGUF, and ids by Google's library.

    pip install sentencepiece==0.2.3 gguf==0.19.0 protobuf
    python3 make_sentencepiece.py
"""

import io
import json
import pathlib
import random

import gguf
import sentencepiece
from sentencepiece import sentencepiece_model_pb2

HERE = pathlib.Path(__file__).parent / "sentencepiece"
SENTENCES = [
    "The engine reads a prompt, token by token, and answers with the most likely next one.",
    "Why is the sky blue? Because the air scatters blue light more than red light.",
    "A page table maps the blocks of a sequence to pages of memory.",
    "for (int i = 0; i < n; ++i) { sum += x[i] * y[i]; }",
    "def attention(q, k, v):\n    return softmax(q @ k.T) @ v",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u5929\u7a7a\u4e3a\u4ec0\u4e48\u662f\u84dd\u8272\u7684\uff1f",
    "Der Himmel ist blau, weil die Luft das Licht streut.",
    "In 2024 we measured 1234.5 tokens per second, 17% more than before.",
]


def texts():
    rng = random.Random(1)
    pieces = [" ", "  ", "   ", "\n", "\t", "the", "Sky", "blue", "user", "<s>", "</s>", "<unk>", "<ctl>",
              "\u4e16\u754c", "\u4f60", "\U0001f680", "e\u0301", "x" * 20, "\u2581", "1234", "?", "\u00a0",
              "<0x0A>", "\x00", "while", "\u05d0", "token", "."]
    fixed = ["", " ", "a", "  a", "Hello world", " leading", "trailing ", "<s>[INST] hi [/INST]",
             "two  spaces", "new\nline", "\u2581under"] + SENTENCES
    return fixed + ["".join(rng.choices(pieces, k=rng.randint(1, 8))) for _ in range(200)]


def main():
    HERE.mkdir(exist_ok=True)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20), model_writer=model, model_type="bpe", vocab_size=480,
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        character_coverage=0.98, user_defined_symbols=["user"], control_symbols=["<ctl>"],
        minloglevel=2)
    (HERE / "tokenizer.model").write_bytes(model.getvalue())
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    golden = [{"text": text, "ids": processor.encode(text)} for text in texts()]
    (HERE / "golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")

    proto = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())
    writer = gguf.GGUFWriter(HERE / "tokenizer.gguf", "llama")
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([piece.piece for piece in proto.pieces])
    writer.add_token_scores([piece.score for piece in proto.pieces])
    writer.add_token_types([piece.type for piece in proto.pieces])
    writer.add_bos_token_id(proto.trainer_spec.bos_id)
    writer.add_eos_token_id(proto.trainer_spec.eos_id)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
