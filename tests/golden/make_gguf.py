"""Makes tests/golden/gguf: small GGUF files written by the `gguf` package, and what they hold.

    pip install gguf==0.19.0 && python3 tests/golden/make_gguf.py

all_types.v3.gguf has a metadata value of each type, arrays of each type, and a tensor of each type
that AIOS reads; all_types.v2.gguf is the same file as version 2. all_types.json says what they hold.
aligned.gguf has an alignment of 4096 in place of 32. unsupported.gguf has a tensor of type Q2_K.
"""

import json
import pathlib

import gguf
import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType, GGUFWriter

OUT = pathlib.Path(__file__).parent / "gguf"

TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]

# Key, type, value. The extremes of each integer; strings that are empty, long, not ASCII.
SCALARS = [
    ("test.u8", "UINT8", 255),
    ("test.i8", "INT8", -128),
    ("test.u16", "UINT16", 65535),
    ("test.i16", "INT16", -32768),
    ("test.u32", "UINT32", 4294967295),
    ("test.i32", "INT32", -2147483648),
    ("test.u64", "UINT64", 9223372036854775807),
    ("test.u64_above_i64", "UINT64", 18446744073709551615),
    ("test.i64", "INT64", -9223372036854775808),
    ("test.f32", "FLOAT32", 0.15625),
    ("test.f64", "FLOAT64", 0.1),
    ("test.true", "BOOL", True),
    ("test.false", "BOOL", False),
    ("test.empty", "STRING", ""),
    ("test.string", "STRING", "Grüße, 世界 🙂"),
]
ARRAYS = [
    ("array.u8", "UINT8", [0, 255]),
    ("array.i8", "INT8", [-128, 127]),
    ("array.u16", "UINT16", [0, 65535]),
    ("array.i16", "INT16", [-32768, 32767]),
    ("array.u32", "UINT32", [0, 2147483647]),
    ("array.i32", "INT32", [-2147483648, 2147483647]),
    ("array.u64", "UINT64", [0, 2147483647]),
    ("array.i64", "INT64", [-2147483648, 2147483647]),
    ("array.f32", "FLOAT32", [0.5, -2.0]),
    ("array.f64", "FLOAT64", [0.25, 1024.0]),
    ("array.bool", "BOOL", [True, False, True]),
    ("array.string", "STRING", ["", "a", "Ġthe", "世界"]),
]


def add_tensors(writer, types, rng):
    """A tensor of each type, with ranks from 1 to 4; returns what a reader must find."""
    found = []
    for i, name in enumerate(types):
        block_size, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
        rows = ([], [2], [3, 2], [2, 1, 2])[i % 4]
        data = rng.integers(0, 256, (*rows, block_bytes), dtype=np.uint8)
        writer.add_tensor(f"blk.{i}.{name.lower()}.weight", data, raw_dtype=GGMLQuantizationType[name])
        found.append({
            "name": f"blk.{i}.{name.lower()}.weight",
            "dtype": name,
            "shape": [*rows, block_size],
            "bytes": data.reshape(-1).tolist(),
        })
    return found


def write(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_all_types(version):
    gguf.gguf_writer.GGUF_VERSION = version
    writer = GGUFWriter(OUT / f"all_types.v{version}.gguf", "test")
    for key, kind, value in SCALARS:
        writer.add_key_value(key, value, GGUFValueType[kind])
    for key, kind, value in ARRAYS:
        writer.add_key_value(key, value, GGUFValueType.ARRAY, GGUFValueType[kind])
    writer.add_key_value("array.nested", [[1, 2], [3]], GGUFValueType.ARRAY)
    tensors = add_tensors(writer, TYPES, np.random.default_rng(20240607))
    write(writer)
    return tensors


def main():
    OUT.mkdir(exist_ok=True)
    write_all_types(2)
    tensors = write_all_types(3)
    metadata = {key: value for key, _, value in [*SCALARS, *ARRAYS]}
    (OUT / "all_types.json").write_text(
        json.dumps({"metadata": metadata, "tensors": tensors}, ensure_ascii=False) + "\n"
    )

    writer = GGUFWriter(OUT / "aligned.gguf", "test")
    writer.add_custom_alignment(4096)
    add_tensors(writer, ["F32", "Q8_0"], np.random.default_rng(1))
    write(writer)

    writer = GGUFWriter(OUT / "unsupported.gguf", "test")
    add_tensors(writer, ["F32", "Q2_K"], np.random.default_rng(1))
    write(writer)


if __name__ == "__main__":
    main()
