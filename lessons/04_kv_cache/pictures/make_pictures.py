#!/usr/bin/env python3
"""Draws the pictures of lesson 04: python3 make_pictures.py writes the .svg files beside it.

Only the standard library. The background is white, so that they can be read in dark mode too; the
fonts are the reader's own, and the texts have room for wide ones. Sizes are worked out here from the
models' configs.
"""

import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).absolute().parents[3] / "tools"))
from pictures import *  # pylint: disable=wildcard-import,unused-wildcard-import,wrong-import-position

# layers, key-value heads, head_dim, bytes a number
SMOLLM2 = (30, 3, 64, 4)
LLAMA_8B = (32, 8, 128, 2)
PAGE_SIZE = 64


def token_bytes(layers, kv_heads, head_dim, number):
    """Keys and values of one token, in all layers."""
    return 2 * layers * kv_heads * head_dim * number


# ---- 1. What is computed, and when --------------------------------------------------------------


def recompute():
    p = Picture(412, "Which positions each step computes: all of them, or only the new one")
    p.text(20, 30, "Which positions each step computes: a prompt of 5 tokens, an answer of 8", 17,
           bold=True)
    cell, n_prompt, n_answer = 25, 5, 8

    def grid(x0, y0, cached):
        for step in range(n_answer):
            length = n_prompt + step
            for position in range(length):
                new = position == length - 1 or step == 0
                if not cached:
                    fill, stroke = (RED_PALE, RED)
                    if new:
                        fill, stroke = (GREEN_PALE, GREEN)
                elif new:
                    fill, stroke = (GREEN_PALE, GREEN)
                else:
                    fill, stroke = ("#ffffff", "#c9d0da")
                p.rect(x0 + position * cell, y0 + step * cell, cell - 3, cell - 3, fill, stroke, 1, 2)
            n = length if not cached or step == 0 else 1
            p.text(x0 + (n_prompt + n_answer) * cell + 8, y0 + step * cell + 16, str(n), 12.5,
                   RED if not cached else GREEN, bold=True)
        p.text(x0 - 8, y0 + 16, "step 1", 12, DIM, "end")
        p.text(x0 - 8, y0 + (n_answer - 1) * cell + 16, f"step {n_answer}", 12, DIM, "end")
        p.text(x0, y0 - 10, "position", 12, DIM)
        p.arrow(x0 + 54, y0 - 14, x0 + n_prompt * cell + 60, y0 - 14)

    left, right = 74, 504
    p.text(left - 54, 62, "Without a cache: everything, each time", 14, RED, bold=True)
    p.text(right - 54, 62, "With a cache: the new one; the rest is read", 14, GREEN, bold=True)
    grid(left, 100, cached=False)
    grid(right, 100, cached=True)
    y = 100 + n_answer * cell + 26
    total = sum(n_prompt + s for s in range(n_answer))
    p.text(left, y, f"{total} positions computed", 13.5, RED, bold=True)
    p.text(right, y, f"{n_prompt + n_answer - 1} positions computed", 13.5, GREEN, bold=True)
    p.text(left, y + 20, "grows as the square of the length", 12.5, DIM)
    p.text(right, y + 20, "grows as the length: prefill, then decode", 12.5, DIM)
    y += 52
    x = 20
    for fill, stroke, name in ((GREEN_PALE, GREEN, "computed for the first time"),
                               (RED_PALE, RED, "computed again, with the same result"),
                               ("#ffffff", "#c9d0da", "its keys and values are read")):
        p.rect(x, y - 12, 18, 14, fill, stroke, 1, 2)
        p.text(x + 26, y, name, 12.5)
        x += 290
    before = sum(36 + s for s in range(64))
    p.text(20, y + 26, f"The default prompt has 36 tokens; with an answer of 64 it is {before:,} "
           f"positions against {36 + 63}: {before / 99:.0f} times.", 12.5, DIM)
    p.write("recompute.svg")


# ---- 2. A page ----------------------------------------------------------------------------------


def page():
    p = Picture(420, "What is in a page: for each layer, keys and values of 64 positions")
    p.text(20, 30, "A page: keys and values of 64 positions, in every layer", 17, bold=True)
    # The layers, as a stack of pairs.
    for i in range(4):
        y = 68 + i * 46
        label = f"layer {i}" if i < 3 else "layer 29"
        if i == 3:
            p.text(110, y - 4, ":", 16, DIM, "middle")
            y += 14
        p.text(84, y + 21, label, 12.5, anchor="end")
        p.box(96, y, 76, 32, "values", ORANGE_PALE, ORANGE)
        p.box(178, y, 76, 32, "keys", BLUE_PALE, BLUE)
    p.text(96, 292, "page 17 is the same place", 12.5, DIM)
    p.text(96, 309, "in all 60 of them: one number", 12.5, DIM)
    p.text(96, 326, "in a page table serves all layers", 12.5, DIM)

    # One of them, in full.
    x0, y0 = 370, 84
    p.line(254, 68, x0 - 64, y0 - 4, BLUE, 1, "3 3")
    p.line(254, 100, x0 - 64, y0 + 192, BLUE, 1, "3 3")
    for head in range(3):
        y = y0 + head * 68
        p.text(x0 - 12, y + 30, f"head {head}", 12.5, anchor="end")
        for slot in range(8):
            fill = BLUE_PALE if (head, slot) != (1, 2) else "#8fb4e8"
            x = x0 + slot * 46
            if slot == 6:
                p.text(x + 20, y + 32, "...", 14, DIM, "middle")
                continue
            p.rect(x, y, 42, 52, fill, BLUE, 1, 3)
            name = str(slot) if slot < 6 else "63"
            p.text(x + 21, y + 31, name, 12.5, anchor="middle")
    p.text(x0, y0 - 14, "slot: one position, head_dim = 64 numbers beside one another", 12.5, DIM)
    p.text(x0, y0 + 226, "[n_pages, n_kv_heads, page_size, head_dim]", 14, BLUE, bold=True)
    p.text(x0, y0 + 246, "attention reads one head's keys in a row: 64 x 64 numbers, 16 KB in f32",
           12.5, DIM)

    y = 366
    p.line(20, y - 18, 840, y - 18)
    for i, (name, config) in enumerate((("SmolLM2-135M, f32", SMOLLM2), ("Llama 3.1 8B, bf16", LLAMA_8B))):
        layers, kv_heads, head_dim, number = config
        n = token_bytes(*config)
        p.text(20, y + i * 26 + 8, name, 13, bold=True)
        p.text(190, y + i * 26 + 8,
               f"2 x {layers} layers x {kv_heads} heads x {head_dim} x {number} bytes = {n:,} bytes "
               f"a token", 13)
        p.text(840, y + i * 26 + 8, f"{n * PAGE_SIZE / 2**20:.2f} MiB a page of {PAGE_SIZE}", 13,
               GREEN, "end", True)
    p.write("page.svg")


# ---- 3. The page table --------------------------------------------------------------------------


def page_table():
    p = Picture(452, "From a position to a place in memory, through the page table")
    p.text(20, 30, "From a position to a place: as an MMU does it", 17, bold=True)

    # The address.
    p.text(20, 64, "position 150", 14, bold=True)
    p.text(81, 90, "which page", 12, DIM, "middle")
    p.text(203, 90, "which slot", 12, DIM, "middle")
    p.box(20, 98, 122, 34, "150 / 64 = 2", VIOLET_PALE, VIOLET, 13)
    p.box(142, 98, 122, 34, "150 % 64 = 22", GREEN_PALE, GREEN, 13)
    p.text(20, 216, "(a virtual address: page number, offset)", 12, DIM)

    # Tables.
    def table(x, y, name, entries, color, mark=None):
        p.text(x, y - 10, name, 13, color, bold=True)
        for i, entry in enumerate(entries):
            p.rect(x, y + i * 30, 40, 28, "#ffffff", LINE, 1, 2)
            p.text(x + 20, y + i * 30 + 19, str(i), 12, DIM, "middle")
            fill = VIOLET_PALE if i == mark else PALE
            p.rect(x + 42, y + i * 30, 64, 28, fill, color, 1.3, 2)
            p.text(x + 74, y + i * 30 + 19, str(entry), 13.5, anchor="middle", bold=True)

    a, b = [7, 1, 4], [7, 2]
    p.text(330, 50, "page tables", 13, bold=True)
    table(330, 90, "A, 170 tokens", a, BLUE, 2)
    table(330, 262, "B, 100 tokens", b, ORANGE)
    p.arrow(81, 132, 326, 166, VIOLET)

    # Memory.
    x0, y0, w, h = 566, 62, 176, 34
    p.text(x0, y0 - 12, "pages in memory", 13, bold=True)
    fills = {7: (GREEN_PALE, GREEN, "A and B, positions 0 to 63"), 1: (BLUE_PALE, BLUE, "A, 64 to 127"),
             4: (BLUE_PALE, BLUE, "A, 128 to 169"), 2: (ORANGE_PALE, ORANGE, "B, 64 to 99")}
    used = {4: 42 / 64, 2: 36 / 64}
    for i in range(9):
        y = y0 + i * (h + 4)
        fill, stroke, name = fills.get(i, ("#ffffff", LINE, "free"))
        p.rect(x0, y, w, h, "#ffffff", stroke if i in fills else LINE, 1.3, 2)
        if i in fills:
            p.rect(x0, y, w * used.get(i, 1), h, fill, stroke, 1, 2)
        p.text(x0 - 10, y + 22, str(i), 13, anchor="end", bold=i in fills)
        p.text(x0 + w / 2, y + 22, name, 12, INK if i in fills else DIM, "middle")
    middle = lambda page: y0 + page * (h + 4) + h / 2
    for i, entry in enumerate(a):
        p.arrow(438, 90 + i * 30 + 14, x0 - 26, middle(entry) - 3, VIOLET if i == 2 else BLUE, 1.4)
    for i, entry in enumerate(b):
        p.arrow(438, 262 + i * 30 + 14, x0 - 26, middle(entry) + 5, ORANGE, 1.4)
    slot = x0 + w * 22.5 / 64
    p.line(slot, middle(4) - 17, slot, middle(4) + 17, GREEN, 3)
    p.text(x0 + w + 10, middle(4) - 2, "position 150:", 12, VIOLET)
    p.text(x0 + w + 10, middle(4) + 14, "slot 22", 12, VIOLET)
    p.text(20, 356, "Any free page will do: neighbours need not be.", 12.5)
    p.text(20, 376, "A and B begin alike: page 7 is held by both.", 12.5)
    p.text(20, 396, "What is wasted is the end of each last page.", 12.5)
    p.text(20, 428, "A kernel divides the position, looks into the table, and reads: one more load for "
           "each page of 64 keys.", 12.5, DIM)
    p.write("page_table.svg")


# ---- 4. Contiguous and paged --------------------------------------------------------------------


def fragmentation():
    p = Picture(398, "Memory for four sequences: contiguous for the longest possible, or in pages")
    p.text(20, 30, "The same memory, the same sequences: contiguous and in pages", 17, bold=True)
    x0, width, h = 20, 820, 44
    n_slots = 8192 * 2  # tokens that the memory has room for
    colors = [(BLUE_PALE, BLUE), (ORANGE_PALE, ORANGE), (VIOLET_PALE, VIOLET), (GREEN_PALE, GREEN)]
    lengths = [900, 2500, 400, 1700]

    y = 92
    p.text(x0, y - 32, "Contiguous: each gets the whole context of 8,192, since nobody knows how long "
           "it becomes", 14, bold=True)
    p.text(x0, y - 12, "room for 16,384 tokens: two sequences, and the others wait", 12.5, DIM)
    for i in range(2):
        x = x0 + i * width / 2
        p.rect(x, y, width / 2, h, "#ffffff", RED, 1.5, 0)
        used = width / 2 * lengths[i] / 8192
        p.rect(x, y, used, h, *colors[i], 1.2, 0)
        p.text(x + used / 2, y + 27, "AB"[i], 14, anchor="middle", bold=True)
        p.text(x + used + (width / 2 - used) / 2, y + 27,
               f"{8192 - lengths[i]:,} reserved, empty", 12.5, RED, "middle")
    p.text(x0, y + h + 22, f"used: {lengths[0]:,} + {lengths[1]:,} of 16,384 = "
           f"{100 * sum(lengths[:2]) / n_slots:.0f}%", 13, RED, bold=True)

    y = 246
    n_pages = n_slots // 256
    p.text(x0, y - 32, "In pages: each takes one when it needs one, wherever it is", 14, bold=True)
    p.text(x0, y - 12, "the same room, as 256 pages of 64 tokens (each box: four of them)", 12.5, DIM)
    order = []  # the sequences take turns, as they do when they run together
    left = [math.ceil(length / 256) for length in lengths]
    while any(left):
        for s in range(4):
            if left[s] > 0:
                left[s] -= 1
                order.append((s, left[s] == 0))
    w = width / n_pages
    for i in range(n_pages):
        x = x0 + i * w
        p.rect(x, y, w - 1.5, h, "#ffffff", "#c9d0da", 1, 0)
        if i >= len(order):
            continue
        s, last = order[i]
        p.rect(x, y, w - 1.5, h, *colors[s], 1.2, 0)
        p.text(x + w / 2 - 0.7, y + 27, "ABCD"[s], 9.5, anchor="middle")
    used = len(order) * w
    p.rect(x0 + used + (width - used) / 2 - 110, y + 12, 220, 20, "#ffffff", "#ffffff")
    p.text(x0 + used + (width - used) / 2, y + 27, "free, for whoever comes next", 12.5, GREEN,
           "middle")
    pages = [math.ceil(length / 64) for length in lengths]
    p.text(x0, y + h + 22, f"A, B, C and D: {sum(lengths):,} tokens in {sum(pages)} pages of 64 = "
           f"{100 * sum(lengths) / (64 * sum(pages)):.1f}% of what is reserved", 13, GREEN, bold=True)
    p.text(x0, y + h + 44, "wasted: the end of the last page of each, "
           f"{64 * sum(pages) - sum(lengths)} tokens in all, half a page on average", 12.5, DIM)
    p.text(x0, y + h + 76, "Contiguous leaves holes of the wrong size, too, when A ends and a longer one "
           "comes. Pages are all of one size: any fits.", 12.5, DIM)
    p.write("fragmentation.svg")


# ---- 5. Sharing: fork, copy on write, prefixes --------------------------------------------------


def sharing():
    p = Picture(470, "Copy on write after a fork, and a prefix found by its chained hash")
    p.text(20, 30, "One page, several owners", 17, bold=True)

    def pages(x, y, entries):
        for i, (number, count, fill, stroke, used) in enumerate(entries):
            yy = y + i * 40
            p.rect(x, yy, 104, 32, "#ffffff", stroke, 1.3, 2)
            p.rect(x, yy, 104 * used, 32, fill, stroke, 1, 2)
            p.text(x + 8, yy + 21, f"page {number}", 12.5)
            p.text(x + 98, yy + 21, f"x{count}", 13, RED if count > 1 else DIM, "end", True)

    def table(x, y, name, entries, color):
        p.text(x, y + 20, name, 13, color, bold=True)
        for i, entry in enumerate(entries):
            p.box(x + 22 + i * 34, y, 32, 30, str(entry), PALE, color, 13, True)

    # Three moments.
    for x, title in ((20, "A has 100 tokens"), (300, "B = fork of A"), (580, "B writes a token")):
        p.text(x, 62, title, 14, bold=True)
    table(20, 76, "A", [9, 2], BLUE)
    pages(20, 162, [(9, 1, BLUE_PALE, BLUE, 1), (2, 1, BLUE_PALE, BLUE, 36 / 64)])
    table(300, 76, "A", [9, 2], BLUE)
    table(300, 114, "B", [9, 2], ORANGE)
    pages(300, 162, [(9, 2, GREEN_PALE, GREEN, 1), (2, 2, GREEN_PALE, GREEN, 36 / 64)])
    table(580, 76, "A", [9, 2], BLUE)
    table(580, 114, "B", [9, 5], ORANGE)
    pages(580, 162, [(9, 2, GREEN_PALE, GREEN, 1), (2, 1, BLUE_PALE, BLUE, 36 / 64)])
    p.rect(714, 202, 104, 32, "#ffffff", ORANGE, 1.3, 2)
    p.rect(714, 202, 104 * 37 / 64, 32, ORANGE_PALE, ORANGE, 1, 2)
    p.text(722, 223, "page 5", 12.5)
    p.text(812, 223, "x1", 13, DIM, "end", True)
    p.arrow(686, 218, 710, 218, ORANGE)
    p.text(300, 262, "nothing is copied: two counts", 12.5, DIM)
    p.text(580, 262, "36 slots are copied; page 9 is full,", 12.5, DIM)
    p.text(580, 279, "nobody will write to it: it stays shared", 12.5, DIM)

    # The prefix cache.
    y = 330
    p.line(20, y - 24, 840, y - 24)
    p.text(20, y, "A prefix that an earlier prompt had: hash by hash, then token by token", 14,
           bold=True)
    for i in range(3):
        x = 20 + i * 196
        p.box(x, y + 14, 150, 32, f"tokens {64 * i} to {64 * i + 63}", BLUE_PALE, BLUE, 12.5)
        p.arrow(x + 75, y + 46, x + 75, y + 64)
        before = f"h{i - 1}, " if i else ""
        p.box(x, y + 66, 150, 30, f"h{i} = hash({before}tokens)", VIOLET_PALE, VIOLET, 12)
        if i < 2:
            p.arrow(x + 150, y + 81, x + 194, y + 81, VIOLET)
    p.text(600, y + 28, "h2 stands for all 192 tokens:", 12.5)
    p.text(600, y + 45, "the same page of text after another", 12.5)
    p.text(600, y + 62, "beginning, another hash.", 12.5)
    p.text(600, y + 83, "Found? Compare the tokens:", 12.5)
    p.text(600, y + 100, "a hash is not a proof.", 12.5)
    p.text(20, y + 124, "It shares full pages only, and at least the last token of a prompt is computed: "
           "its logits are the answer's first.", 12.5, DIM)
    p.write("sharing.svg")


# ---- 6. The roofline ----------------------------------------------------------------------------


def roofline():
    p = Picture(452, "Prefill and decode of Llama 3.1 8B on the roofline of an H200")
    p.text(20, 30, "Llama 3.1 8B on an H200: with a cache there are two kinds of work", 17, bold=True)
    left, right, top, bottom = 90, 830, 60, 370
    read, flops = 4.69e12, 827e12  # measured: lesson 03
    x_of = lambda v: left + (right - left) * (math.log10(v) - math.log10(0.5)) / math.log10(8192)
    y_of = lambda v: bottom - (bottom - top) * (math.log10(v) - 12) / math.log10(2000)
    for v in (1e12, 1e13, 1e14, 1e15):
        p.line(left, y_of(v), right, y_of(v), "#e3e7ed", 1)
        p.text(left - 10, y_of(v) + 4, f"{v / 1e12:,.0f}", 12, DIM, "end")
    for v in (1, 10, 100, 1000):
        p.line(x_of(v), top, x_of(v), bottom, "#e3e7ed", 1)
        p.text(x_of(v), bottom + 18, f"{v:,}", 12, DIM, "middle")
    p.text(left - 60, top - 8, "TFLOP/s", 12.5, DIM)
    p.text((left + right) / 2, bottom + 40, "FLOPs for each byte read", 12.5, DIM, "middle")
    ridge = flops / read
    p.line(x_of(0.5), y_of(0.5 * read), x_of(ridge), y_of(flops), ORANGE, 2.5)
    p.line(x_of(ridge), y_of(flops), right, y_of(flops), GREEN, 2.5)
    p.text(right, y_of(flops) - 10, "arithmetic: 827 TFLOP/s", 13, GREEN, "end", True)
    p.text(x_of(3), y_of(read * 3) - 22, "memory: 4.69 TB/s", 13, ORANGE, "end", True)

    # Weights of the layers and of the output matrix; attention per token of context.
    layers = 32 * (2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 14336 * 4096)
    output = 128256 * 4096
    weights = 2 * (layers + output)  # bytes
    kv = token_bytes(*LLAMA_8B)
    attention = 4 * 32 * 32 * 128  # FLOPs a token and key

    def decode(context, batch):
        work = batch * (2 * (layers + output) + attention * context)
        return work / (weights + batch * kv * context)

    def prefill(n):
        work = 2 * layers * n + 2 * output + attention * n * (n + 1) / 2
        return work / (weights + kv * n)

    # An answer's token without a cache is a prefill of all before it.
    for intensity, name, color, dx, dy, anchor in (
            (decode(1000, 1), "decode, 1,000 tokens so far", BLUE, 12, 20, "start"),
            (attention / kv, "attention of decode alone: 4, in any batch", VIOLET, 12, 18, "start"),
            (decode(1000, 32), "decode, 32 sequences (lesson 05)", BLUE, 12, 18, "start"),
            (prefill(1000), "prefill of 1,000", RED, 0, 26, "middle")):
        y = y_of(min(flops, intensity * read))
        p.circle(x_of(intensity), y, 5.5, color)
        p.text(x_of(intensity) + dx, y + dy, name, 12.5, color, anchor, True)
    p.text(20, bottom + 62, "Worked out, not measured: FLOPs and bytes from the model's config, limits "
           "from lesson 03. Without a cache every token is a", 12, DIM)
    p.text(20, bottom + 78, f"prefill: {2 * layers * 1000 / 1e12:.0f} TFLOP for one token after 1,000, "
           f"{2 * layers * 1000 / flops * 1e3:.0f} ms; with it {weights / 1e9:.1f} GB, "
           f"{weights / read * 1e3:.1f} ms.", 12, DIM)
    p.write("roofline.svg")


if __name__ == "__main__":
    recompute()
    page()
    page_table()
    fragmentation()
    sharing()
    roofline()
