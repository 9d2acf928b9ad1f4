#!/usr/bin/env python3
"""Draws the pictures of lesson 03: python3 make_pictures.py writes the .svg files beside it.

Only the standard library. The background is white, so that they can be read in dark mode too; the
fonts are the reader's own, and the texts have room for wide ones.
"""

import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).absolute().parents[3] / "tools"))
from pictures import *  # pylint: disable=wildcard-import,unused-wildcard-import,wrong-import-position


# ---- 1. The memories of an H200 -----------------------------------------------------------------


def memory_hierarchy():
    p = Picture(428, "The memories of an H200: sizes, bandwidths and the reuse that each asks for")
    p.text(20, 30, "The memories of an H200", 17, bold=True)
    for x, head in ((352, "size"), (494, "bandwidth, all SMs"), (690, "FLOPs that a byte from")):
        p.text(x, 58, head, 12.5, DIM)
    p.text(690, 74, "here must feed (bf16)", 12.5, DIM)
    # The width of a box and the length of a bar show the order, not the scale.
    rows = [
        ("registers", "each thread its own, up to 255", "256 KB an SM", "34.6 MB in all",
         "365 TB/s", "3 x 4 bytes a lane and clock", 130, "2", GREEN, GREEN_PALE),
        ("shared memory and L1", "the threads of a block", "256 KB an SM", "34.6 MB in all",
         "30 TB/s", "128 bytes a clock and SM", 86, "27", BLUE, BLUE_PALE),
        ("L2", "all SMs", "60 MB", "", "about 9 TB/s", "no figure published: see text", 54, "90",
         VIOLET, VIOLET_PALE),
        ("HBM3e, the device memory", "all SMs, and copies from the host", "141 GB", "",
         "4.69 TB/s", "measured; datasheet 4.8", 36, "176", ORANGE, ORANGE_PALE),
    ]
    for i, (name, who, size, total, rate, why, bar, feed, dark, pale) in enumerate(rows):
        y = 88 + i * 72
        indent = (3 - i) * 16
        p.rect(20 + indent, y, 308 - 2 * indent, 56, pale, dark, 1.5, 5)
        p.text(174, y + 24, name, 14.5, anchor="middle", bold=True)
        p.text(174, y + 43, who, 12, DIM, anchor="middle")
        if i < 3:
            p.arrow(168, y + 72, 168, y + 56, DIM)
            p.arrow(180, y + 56, 180, y + 72, DIM)
        p.text(352, y + (24 if total else 33), size, 13.5)
        p.text(352, y + 43, total, 12, DIM)
        p.text(494, y + 20, rate, 13.5, bold=True)
        p.rect(494, y + 27, bar, 6, dark, dark)
        p.text(494, y + 49, why, 12, DIM)
        p.text(740, y + 36, feed, 20, dark, anchor="middle", bold=True)
    p.text(20, 394, "132 SMs at 1.8 GHz. The last column is 827 TFLOP/s (cuBLAS, bf16, measured) "
           "divided by the bandwidth:", 12.5, DIM)
    p.text(20, 412, "a kernel that uses a byte less often than that waits for this memory.", 12.5,
           DIM)
    p.write("memory_hierarchy.svg")


# ---- 2. Coalescing ------------------------------------------------------------------------------


def coalescing():
    p = Picture(548, "What one load of a warp fetches: consecutive, strided, and 16 bytes a lane")
    p.text(20, 30, "One load instruction of a warp: 32 lanes, memory comes in sectors of 32 bytes",
           17, bold=True)
    left, cell = 30, 25  # of the lanes

    def lanes(y):
        for i in range(32):
            p.rect(left + i * cell, y, cell - 4, 16, BLUE_PALE, BLUE, 1, 2)
            if i in (0, 1, 2, 31):
                p.text(left + i * cell + (cell - 4) / 2, y + 12.5, str(i), 10.5, anchor="middle")

    # Consecutive: lane i takes number i.
    p.text(left, 66, "Consecutive: lane i reads x[i], 4 bytes", 14, bold=True)
    p.text(830, 66, "4 sectors, 128 bytes fetched, 128 used: 100%", 13, GREEN, "end", True)
    lanes(76)
    x0, w = 230, 12.5  # of the memory, a number of 4 bytes
    for i in range(32):
        p.line(left + i * cell + 10.5, 92, x0 + i * w + w / 2, 138, LINE, 0.8)
    for i in range(32):
        p.rect(x0 + i * w, 138, w, 22, GREEN_PALE, "#8cc9ab", 0.7)
    for i in range(5):
        p.line(x0 + i * 8 * w, 132, x0 + i * 8 * w, 166, GREEN, 2)
    for i in range(4):
        p.text(x0 + (i * 8 + 4) * w, 181, f"sector {i}", 11.5, DIM, "middle")

    # Strided: lane i takes the first number of row i.
    p.text(left, 226, "Strided: lane i reads x[i][0], rows lie far apart", 14, bold=True)
    p.text(830, 226, "32 sectors, 1,024 bytes fetched, 128 used: 12.5%", 13, RED, "end", True)
    lanes(236)
    for i in range(32):
        x = left + i * cell
        p.line(x + 10.5, 252, x + 2, 292, LINE, 0.8)
        p.rect(x, 292, cell - 5, 22, RED_PALE, RED, 0.8)
        p.rect(x, 292, (cell - 5) / 8, 22, GREEN, GREEN, 0.5)
        if i < 31:
            p.text(x + cell - 2.5, 308, ":", 11, DIM, "middle")
    p.text(left, 335, "each box is a sector of another row: 4 bytes are used (green), 28 come "
           "along; in bf16 it is 2 of 32", 12, DIM)

    # 16 bytes a lane.
    p.text(left, 382, "Consecutive, 16 bytes a lane: lane i reads x[8 i] to x[8 i + 7] in bf16", 14,
           bold=True)
    p.text(830, 402, "16 sectors, 512 bytes fetched, 512 used: one instruction asks for four times "
           "as much", 13, GREEN, "end", True)
    lanes(412)
    for i in range(32):
        x = left + i * cell
        p.line(x + 10.5, 428, x + cell / 2, 466, LINE, 0.8)
        p.rect(x, 466, cell, 22, GREEN_PALE, "#8cc9ab", 0.7)
    for i in range(17):
        p.line(left + i * 2 * cell, 460, left + i * 2 * cell, 494, GREEN, 2)
    p.text(left, 511, "two lanes share a sector; four cache lines of 128 bytes in a row", 12, DIM)
    p.text(left, 531, "Even from the L1 the strided load is slow: 32 cache lines are looked up, one "
           "after the other, where the first load needs one.", 12, DIM)
    p.write("coalescing.svg")


# ---- 3. Tiles -----------------------------------------------------------------------------------


def tiles():
    p = Picture(500, "Tiles of a matrix product: block, warp and thread, and the reuse each gives")
    p.text(20, 30, "Tiles: make a rectangle of C at once, and each number loaded is used often", 17,
           bold=True)

    def grid(x, y, w, h, nx, ny):
        for i in range(1, nx):
            p.line(x + w * i / nx, y, x + w * i / nx, y + h, "#c9d0da", 0.8)
        for i in range(1, ny):
            p.line(x, y + h * i / ny, x + w, y + h * i / ny, "#c9d0da", 0.8)

    # The matrices: C = A B^T.
    ax, ay = 36, 150
    p.rect(ax, ay, 54, 150)
    p.rect(ax, ay + 75, 54, 25, BLUE_PALE, BLUE, 1.5)
    p.text(ax + 27, ay + 168, "A [m, k]", 12.5, anchor="middle")
    p.rect(ax + 74, 80, 150, 50)
    p.rect(ax + 74 + 75, 80, 37.5, 50, ORANGE_PALE, ORANGE, 1.5)
    p.text(ax + 149, 72, "B [n, k], seen transposed", 12.5, anchor="middle")
    p.rect(ax + 74, ay, 150, 150, "#ffffff")
    grid(ax + 74, ay, 150, 150, 4, 6)
    p.rect(ax + 149, ay + 75, 37.5, 25, VIOLET_PALE, VIOLET, 2)
    p.text(ax + 149, ay + 168, "C [m, n]", 12.5, anchor="middle")
    p.line(ax + 54, ay + 75, ax + 149, ay + 75, BLUE, 1, "4 3")
    p.line(ax + 54, ay + 100, ax + 149, ay + 100, BLUE, 1, "4 3")
    p.line(ax + 149, 130, ax + 149, ay + 75, ORANGE, 1, "4 3")
    p.line(ax + 186.5, 130, ax + 186.5, ay + 75, ORANGE, 1, "4 3")

    # The block's tile.
    bx, by, side = 356, 150, 130
    p.line(ax + 186.5, ay + 75, bx, by, VIOLET, 1, "2 3")
    p.line(ax + 186.5, ay + 100, bx, by + side, VIOLET, 1, "2 3")
    p.rect(bx, by, side, side, VIOLET_PALE, VIOLET, 2)
    grid(bx, by, side, side, 2, 2)
    p.rect(bx + side / 2, by, side / 2, side / 2, GREEN_PALE, GREEN, 2)
    middle = bx + side / 2
    p.text(middle, 90, "block tile: shared memory", 13.5, anchor="middle", bold=True)
    p.text(middle, 108, "m + n numbers in for each k,", 12, DIM, "middle")
    p.text(middle, 124, "m n multiply-adds out", 12, DIM, "middle")
    p.text(middle, by + side + 18, "level 5: 128 x 128, four warps", 12, DIM, "middle")
    p.text(middle, by + side + 35, "level 7: 128 x 256, two warpgroups", 12, DIM, "middle")

    # The warp's: the pieces are what one mma.sync makes, 16 x 8.
    wx, wy = 630, 150
    p.line(bx + side, by, wx, wy, GREEN, 1, "2 3")
    p.line(bx + side, by + side / 2, wx, wy + side, GREEN, 1, "2 3")
    p.rect(wx, wy, side, side, GREEN_PALE, GREEN, 2)
    grid(wx, wy, side, side, 8, 4)
    p.rect(wx + 3 * side / 8, wy + side / 4, side / 8, side / 4, RED_PALE, RED, 2)
    middle = wx + side / 2
    p.text(middle, 90, "warp tile: registers", 13.5, anchor="middle", bold=True)
    p.text(middle, 108, "the same once more, one step", 12, DIM, "middle")
    p.text(middle, 124, "nearer to the arithmetic", 12, DIM, "middle")
    p.text(middle, wy + side + 18, "level 5: 64 x 64 a warp, 16 x 8 an mma", 12, DIM, "middle")
    p.text(middle, wy + side + 35, "level 4: 8 x 8 a thread, 64 from 16", 12, DIM, "middle")

    # The reuse, as bars.
    p.text(20, 352, "FLOPs for a byte that the block loads: m n / (m + n), for 2-byte numbers", 13.5,
           bold=True)
    bars = [("level 1: none", 0.5, LINE), ("level 3: 32 x 32", 16, BLUE),
            ("levels 4 to 6: 128 x 128", 64, BLUE), ("level 7: 128 x 256", 85.3, VIOLET),
            ("level 8: a pair, 256 x 256", 128, GREEN)]
    x0, scale = 226, 3.1
    for i, (name, value, color) in enumerate(bars):
        y = 366 + i * 22
        p.text(x0 - 10, y + 13, name, 12.5, anchor="end")
        p.rect(x0, y, value * scale, 16, color, color)
        if value < 60:
            p.text(x0 + value * scale + 8, y + 13, f"{value:.3g}", 12.5, bold=True)
        else:
            p.text(x0 + value * scale - 8, y + 13, f"{value:.0f}", 12.5, "#ffffff", "end", True)
    for need, name in ((90, "L2: 90"), (176, "HBM: 176")):
        p.line(x0 + need * scale, 360, x0 + need * scale, 478, RED, 1.3, "5 3")
        p.text(x0 + need * scale, 492, f"{name} needed", 12, RED, "middle")
    p.write("tiles.svg")


# ---- 4. The pipeline ----------------------------------------------------------------------------


def pipeline():
    p = Picture(500, "Time diagrams of levels 6, 7 and 8: who loads and who multiplies, when")
    p.text(20, 30, "Who loads and who multiplies, when (one block, time to the right)", 17,
           bold=True)
    x0 = 150
    unit = 40  # the time of a product

    def row(y, name):
        p.text(x0 - 12, y + 17, name, 13, anchor="end")
        p.line(x0, y + 30, 845, y + 30, PALE, 1)

    def load(t, y, label, width=1.0):
        p.box(x0 + t * unit, y, width * unit - 2, 24, label, BLUE_PALE, BLUE, 11)

    def multiply(t, y, label, color=(GREEN_PALE, GREEN)):
        p.box(x0 + t * unit, y, unit - 2, 24, label, *color, 11)

    def store(t, y, width=1.5):
        p.box(x0 + t * unit, y, width * unit - 2, 24, "store", ORANGE_PALE, ORANGE, 11)

    # Level 6.
    p.text(20, 64, "Level 6: load a tile, wait for it, multiply, ask for the next", 14, bold=True)
    row(76, "copy engine")
    row(110, "tensor cores")
    for i in range(4):
        load(i * 3.6, 76, f"load {i + 1}", 2.5)
        multiply(i * 3.6 + 2.6, 110, str(i + 1))
    p.text(845, 164, "one block multiplies a quarter of the time; three on an SM fill some of the gaps", 12.5,
           DIM, "end")

    # Level 7.
    p.text(20, 204, "Level 7: a producer up to four tiles ahead; full and empty barriers in between",
           14, bold=True)
    row(216, "producer")
    row(250, "consumers")
    for i in range(8):
        t = i * 0.62 if i < 4 else 2.6 + (i - 4) + 1.0
        load(t, 216, str(i + 1), 0.6 if i < 4 else 0.9)
    for i in range(8):
        multiply(2.6 + i, 250, str(i + 1))
    store(10.65, 250)
    load(12.25, 216, "1'", 0.6)
    load(12.87, 216, "2'", 0.6)
    load(13.49, 216, "3'", 0.6)
    multiply(14.85, 250, "1'", (VIOLET_PALE, VIOLET))
    multiply(15.85, 250, "2'", (VIOLET_PALE, VIOLET))
    p.line(x0 + 12.2 * unit, 210, x0 + 12.2 * unit, 282, RED, 1.3, "5 3")
    p.text(x0 + 12.2 * unit, 298, "next block", 12, RED, "middle")
    p.text(x0, 298, "the ring fills: nobody multiplies", 12, DIM)
    p.text(x0 + 8.5 * unit, 298, "nobody copies", 12, DIM, "middle")

    # Level 8.
    p.text(20, 344, "Level 8: the block stays; the next tile's loads go on under the store", 14,
           bold=True)
    row(356, "producer")
    row(390, "consumers")
    for i in range(8):
        t = i * 0.62 if i < 4 else 2.6 + (i - 4) + 1.0
        load(t, 356, str(i + 1), 0.6 if i < 4 else 0.9)
    for i in range(8):
        multiply(2.6 + i, 390, str(i + 1))
    for i in range(4):
        load(7.6 + i, 356, f"{i + 1}'", 0.9)
    store(10.65, 390, 1.2)
    for i in range(4):
        load(12.9 + i, 356, f"{i + 5}'", 0.9)
    for i in range(5):
        multiply(11.9 + i, 390, f"{i + 1}'", (VIOLET_PALE, VIOLET))
    p.text(x0 + 10.5 * unit, 438, "the four stages of the next tile are already there", 12, DIM,
           "middle")
    for x, fill, stroke, name in ((150, BLUE_PALE, BLUE, "copy by TMA"),
                                  (290, GREEN_PALE, GREEN, "wgmma"),
                                  (400, VIOLET_PALE, VIOLET, "wgmma, next tile"),
                                  (570, ORANGE_PALE, ORANGE, "store of C")):
        p.rect(x, 462, 18, 14, fill, stroke)
        p.text(x + 25, 474, name, 12.5, DIM)
    p.write("pipeline.svg")


# ---- 5. Attention -------------------------------------------------------------------------------


def attention():
    p = Picture(486, "Which tiles of the scores a causal prefill computes, and the online softmax")
    p.text(20, 30, "Attention of a prefill: tiles of the scores S = Q K^T, made, used and forgotten",
           17, bold=True)
    x0, y0, n, cell = 70, 96, 8, 36
    p.text(x0 + n * cell / 2, 70, "keys, tiles of 128", 12.5, DIM, "middle")
    p.arrow(x0, 82, x0 + n * cell, 82)
    p.text(x0 - 50, y0 + 14, "que-", 12, DIM)
    p.text(x0 - 50, y0 + 29, "ries", 12, DIM)
    p.arrow(x0 - 14, y0, x0 - 14, y0 + n * cell)
    for i in range(n):
        for j in range(n):
            x, y = x0 + j * cell, y0 + i * cell
            if j < i:
                p.rect(x, y, cell, cell, BLUE_PALE, "#8fb4e8", 1)
            elif j > i:
                p.rect(x, y, cell, cell, "#ffffff", "#dfe4ea", 1)
        x = x0 + i * cell
        y = y0 + i * cell
        p.rect(x, y, cell, cell, "#ffffff", ORANGE, 1)
        p.parts.append(f'<polygon points="{x},{y} {x},{y + cell} {x + cell},{y + cell}" '
                       f'fill="{ORANGE_PALE}" stroke="{ORANGE}"/>')
    row = 5
    p.rect(x0 - 1, y0 + row * cell - 1, (row + 1) * cell + 2, cell + 2, "none", GREEN, 3)
    y = y0 + n * cell + 26
    for fill, stroke, name in ((BLUE_PALE, BLUE, "computed whole"),
                               (ORANGE_PALE, ORANGE, "computed, the half past the diagonal masked"),
                               ("#ffffff", LINE, "never computed, never loaded")):
        p.rect(x0, y - 11, 16, 13, fill, stroke)
        p.text(x0 + 24, y, name, 12.5)
        y += 20
    p.text(x0 + 24, y, "8,192 tokens: 64 x 65 / 2 = 2,080 of 4,096 tiles", 12.5, DIM)

    # One row of tiles, step by step.
    rx = 416
    p.line(x0 + (row + 1) * cell + 2, y0 + row * cell + cell / 2, rx - 6, 140, GREEN, 1.2, "3 3")
    p.rect(rx, 60, 424, 248, "#ffffff", GREEN, 2, 6)
    p.text(rx + 18, 86, "One row of tiles, from the left", 14, bold=True)
    p.text(rx + 18, 106, "kept in registers for each query: m, l and O[head_dim]", 12.5, DIM)
    steps = [
        ("S = Q K_j^T", "tensor cores, 128 x 128"),
        ("m' = max(m, max of S)", "the largest score so far"),
        ("P = exp(S - m')", "numerators, at most 1"),
        ("a = exp(m - m')", "by this, all so far is off"),
        ("l = a l + sum of P", "denominator"),
        ("O = a O + P V_j", "tensor cores; P never leaves"),
    ]
    for i, (formula, words) in enumerate(steps):
        yy = 136 + i * 24
        p.text(rx + 18, yy, formula, 13.5, bold=True)
        p.text(rx + 208, yy, words, 12.5, DIM)
    p.text(rx + 18, 288, "after the last tile:  out = O / l", 13.5, GREEN, bold=True)

    p.text(rx, 340, "Device memory, 8,192 tokens, 32 heads of 128", 13.5, bold=True)
    p.text(rx, 366, "three passes over S in f32", 12.5)
    p.rect(rx, 373, 424, 14, RED, RED)
    p.text(rx + 424, 366, "43 GB: 9.2 ms at 4.69 TB/s", 12.5, RED, "end", True)
    p.text(rx, 412, "online: Q, K, V and out only", 12.5)
    p.rect(rx, 419, 2, 14, GREEN, GREEN)
    p.text(rx + 424, 412, "0.17 GB: 0.04 ms", 12.5, GREEN, "end", True)
    p.text(rx, 455, "The products take 0.66 ms at 827 TFLOP/s: now they decide.", 12.5, DIM)
    p.write("attention.svg")


# ---- 6. The roofline ----------------------------------------------------------------------------


def roofline():
    p = Picture(440, "Roofline of an H200 with the matrix product at 1, 64, 256 and 2,048 rows")
    p.text(20, 30, "One weight matrix, more and more rows: from memory's limit to the tensor cores'",
           17, bold=True)
    left, right, top, bottom = 90, 830, 60, 370
    x_of = lambda v: left + (right - left) * (math.log10(v) - math.log10(0.5)) / math.log10(8192)
    y_of = lambda v: bottom - (bottom - top) * math.log10(v) / math.log10(2000)
    for v in (1, 10, 100, 1000):
        p.line(left, y_of(v), right, y_of(v), "#e3e7ed", 1)
        p.text(left - 10, y_of(v) + 4, f"{v:,}", 12, DIM, "end")
    for v in (1, 10, 100, 1000):
        p.line(x_of(v), top, x_of(v), bottom, "#e3e7ed", 1)
        p.text(x_of(v), bottom + 18, f"{v:,}", 12, DIM, "middle")
    p.text(left - 60, top - 8, "TFLOP/s", 12.5, DIM)
    p.text((left + right) / 2, bottom + 40,
           "FLOPs for each byte moved; for a bf16 matrix with few rows: the number of rows", 12.5,
           DIM, "middle")
    ridge = 827 / 4.69
    p.line(x_of(0.5), y_of(0.5 * 4.69), x_of(ridge), y_of(827), ORANGE, 2.5)
    p.line(x_of(ridge), y_of(827), right, y_of(827), GREEN, 2.5)
    p.line(x_of(ridge), y_of(827), x_of(ridge), bottom, DIM, 1.2, "5 4")
    p.text(x_of(ridge) - 8, bottom - 12, "ridge: 827 / 4.69 = 176", 12.5, anchor="end")
    p.text(x_of(4), y_of(4.69 * 4) - 22, "memory: 4.69 TB/s", 13, ORANGE, "end", True)
    p.text(right, y_of(827) - 10, "tensor cores: 827 TFLOP/s", 13, GREEN, "end", True)
    # cuBLAS, 28672 x 4096, on one H200. Intensity: 2 m n k / (2 (m k + n k + m n)).
    n, k = 28672, 4096
    for m, rate in ((1, 3.83), (64, 234), (256, 687), (2048, 812)):
        x = x_of(m * n * k / (m * k + n * k + m * n))
        p.circle(x, y_of(rate), 5.5, BLUE)
        rows = "row" if m == 1 else "rows"
        end = {64: 72, 2048: 92}.get(m, 100)
        p.text(x + end, y_of(rate) + 24, f"{m:,} {rows}: {rate:g}", 12.5, BLUE, "end", True)
    p.text(20, bottom + 62, "Points: cuBLAS, y = x W^T with W of 28,672 x 4,096 in bf16, "
           "measured on one H200. Both axes are logarithmic.", 12, DIM)
    p.write("roofline.svg")


if __name__ == "__main__":
    memory_hierarchy()
    coalescing()
    tiles()
    pipeline()
    attention()
    roofline()
