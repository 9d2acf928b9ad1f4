#!/usr/bin/env python3
"""Draws tokenizer_merges.svg and tokenizer_languages.svg: the program does, from a real run.

    ./bazelw build //lessons/01_llm_basics
    python3 lessons/01_llm_basics/pictures/make_tokenizer_pictures.py
"""

import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]


def main():
    program = ROOT / "bazel-bin" / "lessons" / "01_llm_basics" / "01_llm_basics"
    subprocess.run([program, "--show", "tokenizer", "--text", "unbelievable tokenizers",
                    "--svg", HERE], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
