"""Makes tests/golden/safetensors: small files written by the `safetensors` package.

    pip install safetensors==0.5.3 && python3 tests/golden/make_safetensors.py

small.safetensors has a tensor of each dtype that AIOS reads, of ranks 0 to 4, one without elements,
and notes in __metadata__. The bytes of each tensor count up from its place in this list.
unsupported.safetensors has a tensor of dtype I64.
"""

import math
import pathlib

from safetensors import serialize_file

OUT = pathlib.Path(__file__).parent / "safetensors"

TENSORS = [
    ("scalar", "float32", []),
    ("vector", "float16", [5]),
    ("matrix.weight", "bfloat16", [3, 4]),
    ("cube", "float32", [2, 3, 4]),
    ("rank 4, Grüße", "bfloat16", [2, 1, 2, 3]),
    ("empty", "float32", [0, 7]),
]


def tensor(place, dtype, shape):
    n_bytes = math.prod(shape) * (4 if dtype == "float32" else 2)
    return {"dtype": dtype, "shape": shape, "data": bytes((place + i) % 256 for i in range(n_bytes))}


def main():
    OUT.mkdir(exist_ok=True)
    small = {name: tensor(i, dtype, shape) for i, (name, dtype, shape) in enumerate(TENSORS)}
    serialize_file(small, str(OUT / "small.safetensors"), {"format": "pt", "note": "made by AIOS"})
    unsupported = {"ids": {"dtype": "int64", "shape": [2], "data": bytes(16)}}
    serialize_file(unsupported, str(OUT / "unsupported.safetensors"), None)


if __name__ == "__main__":
    main()
