"""Flags for the CPU, for the one library that uses Eigen: the reference model.

Why there: Eigen chooses its SIMD instructions when it is compiled, so without these flags it would
use 1999's SSE2. Our own kernels choose at run time (Highway's dynamic dispatch) and need no flags.

Why only there: Eigen is templates. Two files that were compiled for different instruction sets
emit the same functions with different code and even different alignments, the linker keeps either,
and the program crashes or, worse, does not. So the rule is: one library includes Eigen, its headers
do not, and it alone has

    copts = REFERENCE_COPTS,
    linkopts = REFERENCE_LINKOPTS,

By default it is compiled for the machine that builds it. To carry a binary to another machine, build
with --config=portable: any x86-64 CPU since 2013 (AVX2, FMA).
"""

_CPU_COPTS = select({
    "//bazel:portable_x86_64": ["-march=x86-64-v3"],
    "//bazel:portable_aarch64": [],  # Its NEON is always there.
    "//conditions:default": ["-march=native"],
})

# Eigen's GEMM shares its work among OpenMP's threads. The sanitizer for threads and clang without
# libomp-dev (--config=fuzz) cannot see into it or lack it; they do without.
_OPENMP = select({
    "//bazel:without_openmp": [],
    "//conditions:default": ["-fopenmp"],
})

# GCC 12 warns about its own AVX-512 intrinsics, which leave a register undefined on purpose.
REFERENCE_COPTS = _CPU_COPTS + _OPENMP + ["-Wno-maybe-uninitialized", "-Wno-uninitialized", "-Wno-unknown-pragmas"]

REFERENCE_LINKOPTS = _OPENMP
