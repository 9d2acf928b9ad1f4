"""Makes tests/golden/dequantize: random quantized blocks and what the `gguf` package makes of them.

    pip install gguf==0.19.0 && python3 tests/golden/make_dequantize.py

For each format, NAME.blocks holds blocks and NAME.f32 their numbers. Quants and sub-block scales are
random bytes, all of which are valid. The f16 scales of the first blocks are the edges of f16; those of
the others are random and finite.
"""

import pathlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

OUT = pathlib.Path(__file__).parent / "dequantize"

# Zeros, the least and greatest subnormals, the least normal, one, the greatest, infinities, NaN.
EDGES = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x3C00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00]

# Where a block has its f16 scales, as byte offsets.
SCALES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
}


def random_f16(rng, n):
    """Finite f16 numbers of all magnitudes, as bits."""
    bits = rng.integers(0, 1 << 16, n, dtype=np.uint16)
    return np.where(bits & 0x7C00 == 0x7C00, bits & 0x83FF, bits).astype(np.uint16)


def scales(rng, n_blocks, place):
    """The scales at one place of all blocks. The second place gets the edges in another order."""
    edges = np.roll(np.array(EDGES, dtype=np.uint16), 5 * place)
    return np.concatenate([edges, random_f16(rng, n_blocks - len(edges))])


def blocks_of(name, rng):
    block_size, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    n_blocks = 48 if block_size > 1 else 1536
    blocks = rng.integers(0, 256, (n_blocks, block_bytes), dtype=np.uint8)
    for place, offset in enumerate(SCALES.get(name, [])):
        blocks[:, offset : offset + 2] = scales(rng, n_blocks, place).view(np.uint8).reshape(-1, 2)
    return blocks


def main():
    rng = np.random.default_rng(20240607)
    np.seterr(all="ignore")  # infinity times zero is meant
    OUT.mkdir(exist_ok=True)
    for name in ["F32", "F16", "BF16", *SCALES]:
        blocks = blocks_of(name, rng)
        data = blocks.reshape(-1)
        if name in ("F32", "F16"):  # the package wants these as numbers
            data = data.view({"F32": np.float32, "F16": np.float16}[name])
        numbers = dequantize(data, GGMLQuantizationType[name])
        (OUT / f"{name}.blocks").write_bytes(blocks.tobytes())
        (OUT / f"{name}.f32").write_bytes(np.ascontiguousarray(numbers, dtype=np.float32).tobytes())


if __name__ == "__main__":
    main()
