"""Writes license.model: a SentencePiece vocabulary (BPE) of 512 pieces, trained on LICENSE.

    pip install sentencepiece==0.2.3
    python3 make_sentencepiece.py

The settings are Llama 2's: bytes for characters that are no pieces, digits one by one, spaces kept.
"""

import io
import pathlib

import sentencepiece

HERE = pathlib.Path(__file__).resolve().parent


def main():
    model = io.BytesIO()
    text = (HERE.parents[2] / "LICENSE").read_text()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text.splitlines()), model_writer=model, model_type="bpe",
        vocab_size=512, byte_fallback=True, split_digits=True, allow_whitespace_only_pieces=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, num_threads=1,
        minloglevel=2)
    (HERE / "license.model").write_bytes(model.getvalue())


if __name__ == "__main__":
    main()
