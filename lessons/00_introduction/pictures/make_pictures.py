#!/usr/bin/env python3
"""Draws the pictures of lesson 00: python3 make_pictures.py writes the .svg files beside it.

Only the standard library. The background is white, so that they can be read in dark mode too; the
fonts are the reader's own, and the texts have room for wide ones. Figures are worked out here from
the model's config and the data sheets, as the lesson's program does it.
"""

import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).absolute().parents[3] / "tools"))
import pictures
from pictures import *  # pylint: disable=wildcard-import,unused-wildcard-import,wrong-import-position

# Llama 3.1 8B: 32 layers; per layer q, o, k, v, gate, up, down; the output matrix.
LAYERS = 32 * (2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 14336 * 4096)
OUTPUT = 128256 * 4096
KV = 32 * 2 * 8 * 128 * 2  # bytes of a token's keys and values, bf16
H200_READ, H200_FLOPS = 4.8e12, 989e12  # data sheet
LAPTOP_READ, LAPTOP_FLOPS = 89.6e9, 1.02e12  # see common/profile/published.cc


class Picture(pictures.Picture):
    def rect(self, x, y, w, h, fill=PALE, stroke=LINE, width=1.0, radius=4.0):
        super().rect(x, y, w, h, fill, stroke, width, radius)


# ---- 1. A program and a model -------------------------------------------------------------------


def two_kinds():
    p = Picture(330, "A request to ordinary software touches little; a token of a model reads it all")
    p.text(20, 28, "What one answer touches", 17, bold=True)
    p.text(30, 58, "ordinary software: a look-up in an index of 16 GB", 14, bold=True)
    p.text(450, 58, "a language model: one token of Llama 8B", 14, bold=True)
    for column, x0 in ((0, 30), (1, 450)):
        for i in range(16):
            for j in range(8):
                touched = column == 1 or (i, j) in ((7, 0), (3, 2), (11, 5), (8, 6))
                fill, stroke = (BLUE_PALE, BLUE) if touched else ("#ffffff", "#d5dbe3")
                p.rect(x0 + i * 23, 76 + j * 18, 19, 14, fill, stroke, 1, 2)
    p.text(30, 246, "the code decides where to look: 4 pages of 4 KB", 13)
    p.text(30, 266, "each different, none known beforehand", 13, DIM)
    p.text(30, 292, "waits for the latency of memory", 13, BLUE, bold=True)
    p.text(30, 312, "16 KB: some 0.4 us if they are in memory", 13, DIM)
    n_bytes = 2 * (LAYERS + OUTPUT)
    p.text(450, 246, f"all weights, in the same order: {n_bytes / 1e9:.1f} GB", 13)
    p.text(450, 266, "no branch depends on what was asked", 13, DIM)
    p.text(450, 292, "waits for the bandwidth of memory", 13, BLUE, bold=True)
    p.text(450, 312, f"{n_bytes / 1e9:.1f} GB / 4.8 TB/s = {n_bytes / H200_READ * 1e3:.2f} ms on an H200",
           13, DIM)
    p.write("two_kinds.svg")


# ---- 2. Three appetites -------------------------------------------------------------------------


def appetites():
    p = Picture(330, "Memory-heavy decode, compute-heavy prefill, and the chain of tokens")
    p.text(20, 28, "Llama 8B in bf16 on one H200, by its data sheet: 4.8 TB/s, 989 TFLOP/s", 17, bold=True)
    decode_bytes = 2 * (LAYERS + OUTPUT)
    decode_flops = 2 * (LAYERS + OUTPUT)
    n = 8192
    prefill_bytes = decode_bytes + n * KV
    prefill_flops = 2 * (LAYERS * n + OUTPUT) + 4 * 32 * 4096 * n * (n + 1) / 2
    rows = [
        (60, "decode: one token", ORANGE, decode_bytes, decode_flops, "memory-heavy", 4e-3),
        (150, "prefill: 8,192 tokens", GREEN, prefill_bytes, prefill_flops, "compute-heavy", 0.16),
    ]
    for y, name, colour, n_bytes, flops, word, scale in rows:
        reading, computing = n_bytes / H200_READ, flops / H200_FLOPS
        p.text(20, y + 18, name, 14, bold=True)
        p.text(20, y + 38, word, 13.5, colour, bold=True)
        for offset, label, seconds in ((0, f"reads {n_bytes / 1e9:.1f} GB", reading),
                                       (32, f"computes {flops / 1e9:,.0f} GFLOP", computing)):
            p.text(330, y + offset + 18, label, 13, anchor="end")
            p.rect(340, y + offset + 4, max(2, 360 * seconds / scale), 20, colour, colour, 1, 2)
            shown = f"{seconds * 1e3:.1f} ms" if seconds > 1e-3 else f"{seconds * 1e6:.0f} us"
            p.text(352 + max(2, 360 * seconds / scale), y + offset + 19, shown, 13)
    p.text(20, 258, "an answer: 64 tokens", 14, bold=True)
    p.text(20, 278, "latency-sensitive", 13.5, BLUE, bold=True)
    step = decode_bytes / H200_READ
    for i in range(9):
        x = 190 + i * 58
        p.rect(x, 246, 42, 24, BLUE_PALE, BLUE)
        p.text(x + 21, 263, ["1", "2", "3", "4", "5", "...", "62", "63", "64"][i], 12.5, anchor="middle")
        if i < 8:
            p.arrow(x + 42, 258, x + 58, 258)
    p.text(720, 263, f"{64 * step * 1e3:.0f} ms", 13, bold=True)
    p.text(190, 294, "each token is an input of the next: more processors do not make the chain shorter,", 13, DIM)
    p.text(190, 313, "only a faster step does", 13, DIM)
    p.write("appetites.svg")


# ---- 3. The operating system --------------------------------------------------------------------


def operating_system():
    p = Picture(396, "An operating system and an inference engine, layer by layer")
    p.text(20, 28, "Two programs that share a machine among many", 17, bold=True)
    p.text(190, 56, "an operating system", 14, DIM, "middle")
    p.text(660, 56, "an inference engine", 14, DIM, "middle")
    rows = [
        ("system calls", "requests over HTTP", "08", VIOLET_PALE, VIOLET),
        ("process scheduler", "batches of requests", "05", BLUE_PALE, BLUE),
        ("virtual memory: pages", "KV cache: pages", "04", BLUE_PALE, BLUE),
        ("exec: a program's image", "weights", "02", GREEN_PALE, GREEN),
        ("compressed memory", "quantization", "06", GREEN_PALE, GREEN),
        ("device drivers", "kernels behind a backend", "03", ORANGE_PALE, ORANGE),
        ("several processors", "several GPUs", "07", ORANGE_PALE, ORANGE),
        ("boot: a hardware probe", "the probe, the roofline", "00", PALE, DIM),
    ]
    for i, (left, right, lesson, fill, stroke) in enumerate(rows):
        y = 70 + i * 38
        p.rect(30, y, 320, 32, fill, stroke)
        p.text(190, y + 21, left, 13.5, anchor="middle")
        p.rect(500, y, 320, 32, fill, stroke)
        p.text(660, y + 21, right, 13.5, anchor="middle")
        p.line(356, y + 16, 494, y + 16, stroke, 1.2, "4 4")
        p.rect(398, y + 4, 54, 24, "#ffffff", stroke)
        p.text(425, y + 21, lesson, 13.5, stroke, "middle", True)
    p.text(425, 62, "lesson", 12, DIM, "middle")
    p.text(20, 388, "top, vmstat and perf look into all of it: lesson 09 does.", 13, DIM)
    p.write("operating_system.svg")


# ---- 4. The course ------------------------------------------------------------------------------


def course_map():
    p = Picture(400, "The map of the ten lessons: what each adds, and the limit that it moves")
    p.text(20, 28, "Ten lessons: each adds one thing, and moves one number", 17, bold=True)
    stages = [
        (20, "understand", PALE, DIM, [("00", "introduction", "predicts all that follows"),
                                       ("01", "LLM basics", "text to tokens, and the parts")]),
        (228, "one request", GREEN_PALE, GREEN, [("02", "running an LLM", "the first answer"),
                                                 ("03", "CUDA kernels", "nearer to the roof"),
                                                 ("04", "KV cache", "FLOPs a token: / 53")]),
        (436, "many requests", BLUE_PALE, BLUE, [("05", "batching", "bytes a token: / 32"),
                                                 ("06", "quantization", "bytes of weights: / 3.6"),
                                                 ("07", "parallelism", "8 memories at once")]),
        (644, "a service", VIOLET_PALE, VIOLET, [("08", "serving", "users at a time"),
                                                 ("09", "profiling", "what is left to gain")]),
    ]
    for x, title, fill, stroke, lessons in stages:
        p.text(x + 98, 62, title, 14, stroke, "middle", True)
        for i, (number, name, moves) in enumerate(lessons):
            y = 76 + i * 88
            p.rect(x, y, 196, 70, fill, stroke, 1.4, 6)
            p.text(x + 14, y + 30, number, 19, stroke, bold=True)
            p.text(x + 48, y + 29, name, 14.5, bold=True)
            p.text(x + 14, y + 54, moves, 12.5, DIM)
            if i + 1 < len(lessons):
                p.arrow(x + 98, y + 70, x + 98, y + 88)
    for x, y in ((216, 199), (424, 287), (632, 287)):
        p.arrow(x, y, x + 12, y)
    p.text(20, 356, "/ 53: an answer of 64 tokens after 36 computes 67.5 positions a token without a cache, 1 with it; "
           "the output's", 12.5, DIM)
    p.text(20, 374, "product is one in either case. / 32: as many sequences share each weight. / 3.6: from 16 bits to 4.5.",
           12.5, DIM)
    p.write("course_map.svg")


# ---- 5. The roofline ----------------------------------------------------------------------------


def roofline():
    p = Picture(452, "The rooflines of an H200 and of a laptop, with decode and prefill of Llama 8B")
    p.text(20, 28, "The roofline: FLOPs a second that memory and arithmetic allow, by FLOPs a byte", 17,
           bold=True)
    left, right, top, bottom = 100, 830, 56, 376
    lo, hi, floor, roof = 0.125, 4096, 5e9, 4e15
    x_of = lambda v: left + (right - left) * math.log(v / lo) / math.log(hi / lo)
    y_of = lambda v: bottom - (bottom - top) * math.log(v / floor) / math.log(roof / floor)
    for v, name in ((1e10, "10 GFLOP/s"), (1e11, "100"), (1e12, "1 TFLOP/s"), (1e13, "10"),
                    (1e14, "100"), (1e15, "1 PFLOP/s")):
        p.line(left, y_of(v), right, y_of(v), "#e3e7ed")
        p.text(left - 8, y_of(v) + 4, name, 12, DIM, "end")
    for v in (0.125, 1, 8, 64, 512, 4096):
        p.line(x_of(v), top, x_of(v), bottom, "#e3e7ed")
        p.text(x_of(v), bottom + 18, f"{v:g}", 12, DIM, "middle")
    p.text((left + right) / 2, bottom + 40, "FLOPs for each byte read", 12.5, DIM, "middle")

    def decode(batch, past):
        n_bytes = 2 * (LAYERS + OUTPUT) + batch * KV * (past + 1)
        return batch * (2 * (LAYERS + OUTPUT) + 4 * 32 * 4096 * (past + 1)) / n_bytes

    n = 512
    prefill = ((2 * (LAYERS * n + OUTPUT) + 4 * 32 * 4096 * n * (n + 1) / 2) /
               (2 * (LAYERS + OUTPUT) + n * KV))
    for name, read, flops, colour in (("H200", H200_READ, H200_FLOPS, GREEN),
                                      ("laptop", LAPTOP_READ, LAPTOP_FLOPS, ORANGE)):
        ridge = flops / read
        p.line(x_of(lo), y_of(lo * read), x_of(ridge), y_of(flops), colour, 2.5)
        p.line(x_of(ridge), y_of(flops), right, y_of(flops), colour, 2.5)
        p.line(x_of(ridge), y_of(flops), x_of(ridge), bottom, colour, 1.2, "5 4")
        p.text(right, y_of(flops) - 9, f"{name}: {flops / 1e12:g} TFLOP/s", 13, colour, "end", True)
        p.text(x_of(ridge) + 5, bottom - 8, f"ridge {ridge:.0f}", 12.5, colour)
        p.text(x_of(0.16), y_of(0.16 * read) - 26, f"{read / 1e9:,.0f} GB/s", 13, colour, bold=True)
    labels = {1: (8, 18), 32: (8, 18), 256: (8, 38)}
    for batch, (dx, dy) in labels.items():
        v = decode(batch, 255)
        y = y_of(min(H200_FLOPS, v * H200_READ))
        p.circle(x_of(v), y, 5.5, BLUE)
        p.text(x_of(v) + dx, y + dy, f"decode, batch {batch}: {v:.0f}", 12.5, BLUE)
    p.circle(x_of(prefill), y_of(H200_FLOPS), 5.5, BLUE)
    p.text(x_of(prefill) + 8, y_of(H200_FLOPS) + 18, f"prefill of 512: {prefill:.0f}", 12.5, BLUE)
    p.text(20, 440, "Points: Llama 8B in bf16 with 256 tokens of context on the H200, at its roof. Both axes are "
           "logarithmic. Published peaks.", 12.5, DIM)
    p.write("roofline.svg")


if __name__ == "__main__":
    two_kinds()
    appetites()
    operating_system()
    course_map()
    roofline()
