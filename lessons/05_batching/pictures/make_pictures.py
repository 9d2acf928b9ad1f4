#!/usr/bin/env python3
"""Draws the pictures of lesson 05: python3 make_pictures.py writes the .svg files beside it.

Only the standard library. The ways of scheduling are not drawn by hand: a few lines simulate them, with
requests and costs that were chosen so that one sees something.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).absolute().parents[3] / "tools"))
from pictures import *  # pylint: disable=wildcard-import,unused-wildcard-import,wrong-import-position

# ---- 1. Four ways of scheduling -----------------------------------------------------------------

# name, arrival in ms, tokens of the prompt, tokens of the answer
REQUESTS = [("A", 0, 24, 18), ("B", 0, 16, 5), ("C", 0, 32, 14), ("D", 10, 160, 8), ("E", 14, 16, 12),
            ("F", 20, 24, 6)]
PLACES, CHUNK = 3, 32


def step_ms(n_rows):
    """As on a GPU: the weights are read whatever the rows; many rows take arithmetic too."""
    return 4 + 0.15 * n_rows


def simulate(mode):
    """When each request was computed, from its arrival on: {name: [(begin, end, kind)]}."""
    places = 1 if mode == "one" else PLACES
    chunk = CHUNK if mode == "chunked" else 10**6
    waiting, running, now = list(REQUESTS), [], 0.0
    left = {name: [prompt, answer] for name, _, prompt, answer in REQUESTS}  # to compute, to sample
    spans = {name: [] for name in left}
    held = []  # of a static batch: those that are through
    while waiting or running:
        now = max(now, 0 if running else min(r[1] for r in waiting))
        if mode != "static" or not running:
            while waiting and waiting[0][1] <= now and len(running) < places:
                running.append(waiting.pop(0)[0])
        decoding = [name for name in running if left[name][0] == 0]
        rows = {name: 1 for name in decoding}
        budget = chunk
        for name in running:
            n = min(left[name][0], budget)
            if n > 0:
                rows[name] = n
                budget -= n
        end = now + step_ms(sum(rows.values()))
        for name, n in rows.items():
            spans[name].append((now, end, "decode" if name in decoding else "prefill"))
            if name not in decoding:
                left[name][0] -= n
            if left[name][0] == 0:
                left[name][1] -= 1
        for name in held:
            spans[name].append((now, end, "hole"))
        done = [name for name in running if left[name][1] == 0]
        running = [name for name in running if name not in done]
        held = held + done if mode == "static" and running else []
        now = end
    return spans


def scheduling_modes():
    p = Picture(704, "The same six requests: one at a time, in static batches, in continuous batches, and "
                "with prompts in chunks")
    p.text(20, 30, "The same six requests, four ways", 17, bold=True)
    x = 44
    for fill, stroke, name in (("", LINE, "waits"), (ORANGE_PALE, ORANGE, "its prompt is computed"),
                               (BLUE_PALE, BLUE, "a token"), (RED_PALE, RED, "a place is held, for nothing")):
        if fill:
            p.rect(x, 45, 20, 13, fill, stroke, 1, 1)
        else:
            p.line(x, 52, x + 20, 52, stroke, 1.5, "2 3")
        p.text(x + 27, 56, name, 12.5)
        x += 60 + 7.8 * len(name)
    modes = [("one", "One at a time", "each waits for all before it"),
             ("static", "Static batches", "a batch ends with its longest answer"),
             ("continuous", "Continuous batching", "who is through makes room at the next step"),
             ("chunked", "Chunked prefill", f"the same, at most {CHUNK} rows of prompts a step")]
    results = {mode: simulate(mode) for mode, _, _ in modes}
    last = max(s[1] for s in sum(results["one"].values(), []))
    left, right, h = 44, 836, 15
    x_of = lambda t: left + (right - left) * t / (last + 4)
    y = 92
    for mode, name, why in modes:
        spans = results[mode]
        p.text(20, y, name, 14, bold=True)
        p.text(204, y, why, 12.5, DIM)
        # The first token comes with the last of the prompt.
        first = [max(e for _, e, kind in spans[r[0]] if kind == "prefill") - r[1] for r in REQUESTS]
        end = max(e for s in spans.values() for _, e, kind in s if kind != "hole")
        gap = max(e - b for s in spans.values() for b, e, kind in s if kind == "decode")
        p.text(right, y, f"mean first token {sum(first) / len(first):.0f} ms, longest gap {gap:.0f} ms", 12.5,
               anchor="end")
        y += 8
        for i, (request, arrival, _, _) in enumerate(REQUESTS):
            top = y + i * (h + 3)
            p.text(left - 9, top + 12, request, 12.5, anchor="end", bold=True)
            begin = spans[request][0][0]
            if begin > arrival:
                p.line(x_of(arrival), top + h / 2, x_of(begin), top + h / 2, LINE, 1.5, "2 3")
            for b, e, kind in spans[request]:
                fill, stroke = {"prefill": (ORANGE_PALE, ORANGE), "decode": (BLUE_PALE, BLUE),
                                "hole": (RED_PALE, "#e9b1b1")}[kind]
                p.rect(x_of(b), top, x_of(e) - x_of(b), h, fill, stroke, 1, 0)
        bottom = y + 6 * (h + 3)
        p.line(x_of(end), y - 2, x_of(end), bottom, GREEN, 1.5)
        # Where there is room for it.
        x, anchor = (x_of(end) - 6, "end") if mode == "one" else (x_of(end) + 6, "start")
        p.text(x, y + 12, f"all done: {end:.0f} ms", 12.5, GREEN, anchor, True)
        y = bottom + 30
    p.text(20, y - 4, f"Three places. Each box is a step: {step_ms(0):.0f} ms to read the weights and "
           f"{step_ms(1) - step_ms(0):.2f} ms a row, chosen for this picture. D, with a", 12, DIM)
    p.text(20, y + 13, f"prompt of {REQUESTS[3][2]}, stretches a step for all; in chunks it stretches some "
           "steps a little, and its own first token comes later.", 12, DIM)
    p.write("scheduling_modes.svg")


# ---- 2. States ----------------------------------------------------------------------------------


def states():
    p = Picture(330, "States of a sequence, and what takes it from one to the next")
    p.text(20, 30, "A sequence's life", 17, bold=True)
    h, y = 56, 84
    top = y + 148
    p.rect(14, 62, 622, 256, "#ffffff", "#e2a3a3", 1.2, 8)
    boxes = {
        "waiting": (28, y, 108, ORANGE_PALE, ORANGE, "no pages yet"),
        "prefilling": (258, y, 118, BLUE_PALE, BLUE, "a chunk a step"),
        "running": (504, y, 118, GREEN_PALE, GREEN, "a token a step"),
        "finished": (744, y, 100, PALE, LINE, "pages free"),
        "preempted": (374, top, 132, VIOLET_PALE, VIOLET, "pages given back"),
        "aborted": (744, top, 100, RED_PALE, RED, "pages free"),
    }
    for name, (x, yy, w, fill, stroke, note) in boxes.items():
        p.rect(x, yy, w, h, fill, stroke, 1.5, 6)
        p.text(x + w / 2, yy + 24, name, 14, anchor="middle", bold=True)
        p.text(x + w / 2, yy + 43, note, 11.5, DIM, "middle")

    for a, b, over, under in (("waiting", "prefilling", "admitted", "a place, pages,"),
                              ("prefilling", "running", "all computed", "first token"),
                              ("running", "finished", "last token", "")):
        x1, x2 = boxes[a][0] + boxes[a][2] + 3, boxes[b][0] - 3
        p.arrow(x1, y + h / 2, x2, y + h / 2)
        x = (x1 + x2) / 2 if b != "finished" else 690
        p.text(x, y + h / 2 - 8, over, 12, anchor="middle")
        p.text(x, y + h / 2 + 18, under, 11.5, DIM, "middle")
    p.text(197, y + h / 2 + 33, "rows for it", 11.5, DIM, "middle")

    # Out, and back: by way of prefilling, or straight to running.
    p.arrow(346, y + h + 3, 404, top - 4, VIOLET)
    p.arrow(378, top - 3, 302, y + h + 4, VIOLET)
    p.arrow(536, y + h + 3, 478, top - 4, VIOLET)
    p.arrow(502, top - 3, 578, y + h + 4, VIOLET)
    p.text(440, y + h + 32, "no page is left,", 12, VIOLET, "middle")
    p.text(440, y + h + 48, "and it came last", 12, VIOLET, "middle")
    p.text(346, top - 22, "admitted again: its", 12, VIOLET, "end")
    p.text(346, top - 6, "tokens are recomputed", 12, VIOLET, "end")
    p.text(532, top - 22, "swapped in:", 12, VIOLET)
    p.text(532, top - 6, "as it was", 12, VIOLET)

    p.arrow(637, top + h / 2, 741, top + h / 2, RED)
    p.text(690, top + h / 2 - 24, "cancelled,", 12, RED, "middle")
    p.text(690, top + h / 2 - 8, "failed,", 12, RED, "middle")
    p.text(690, top + h / 2 + 18, "past its", 12, RED, "middle")
    p.text(690, top + h / 2 + 34, "deadline", 12, RED, "middle")
    p.text(26, 308, "from any of these", 12, RED)
    p.write("states.svg")


# ---- 3. A step ----------------------------------------------------------------------------------


def step():
    p = Picture(408, "A plan makes room, admits and fills; what comes out is one ragged batch")
    p.text(20, 30, "A step: the plan, and the batch that it makes", 17, bold=True)

    # The plan.
    parts = [("1  make room", VIOLET_PALE, VIOLET, "a page for each that runs and",
              "needs one; else who came last", "is preempted"),
             ("2  admit", ORANGE_PALE, ORANGE, "who waits, in the policy's order,",
              "up to the first that does not find", "a place, pages, a row"),
             ("3  fill", BLUE_PALE, BLUE, "a row for each that runs; chunks",
              "of prompts from what is left of", "the budget")]
    for i, (name, fill, stroke, *lines) in enumerate(parts):
        x = 20 + i * 284
        p.rect(x, 50, 252, 96, fill, stroke, 1.3, 5)
        p.text(x + 14, 74, name, 14, bold=True)
        for j, line in enumerate(lines):
            p.text(x + 14, 96 + j * 17, line, 12.5)
        if i < 2:
            p.arrow(x + 255, 98, x + 281, 98)

    # The batch: budget 20, chunk 14; B's last chunk, then as much of E as is left.
    y, cell, x0 = 226, 33, 132
    n_budget = 20
    sequences = [("A", [(170, True)], GREEN_PALE, GREEN), ("C", [(52, True)], GREEN_PALE, GREEN),
                 ("D", [(301, True)], GREEN_PALE, GREEN), ("F", [(88, True)], GREEN_PALE, GREEN),
                 ("B", [(q, q == 69) for q in range(64, 70)], BLUE_PALE, BLUE),
                 ("E", [(q, False) for q in range(8)], ORANGE_PALE, ORANGE)]
    for label, yy in (("sequence", y - 8), ("position", y + 22), ("sampled", y + 60)):
        p.text(x0 - 14, yy, label, 12.5, DIM, "end")
    i = 0
    for name, rows, fill, stroke in sequences:
        begin = x0 + i * cell
        for position, samples in rows:
            x = x0 + i * cell
            p.rect(x, y, cell - 4, 32, fill, stroke, 1.2, 2)
            p.text(x + cell / 2 - 2, y + 21, str(position), 11.5, anchor="middle")
            if samples:
                p.arrow(x + cell / 2 - 2, y + 35, x + cell / 2 - 2, y + 66, stroke)
            i += 1
        p.text((begin + x0 + i * cell - 4) / 2, y - 8, name, 13.5, stroke, "middle", True)

    def brace(a, b, yy, text, color):
        x1, x2 = x0 + a * cell, x0 + b * cell - 4
        p.line(x1, yy, x2, yy, color, 1.5)
        p.line(x1, yy, x1, yy + 6, color, 1.5)
        p.line(x2, yy, x2, yy + 6, color, 1.5)
        p.text((x1 + x2) / 2, yy - 6, text, 12.5, color, "middle", True)

    brace(0, 4, y - 32, "4 run", GREEN)
    brace(4, 18, y - 32, "chunks of prompts: 14 rows", BLUE)
    p.rect(x0 + 18 * cell, y, 2 * cell - 4, 32, "#ffffff", LINE, 1, 2)
    p.text(x0 + 19 * cell - 2, y + 21, "2 left", 11.5, DIM, "middle")
    assert i == 18 < n_budget

    p.text(x0, y + 84, "A, C, D, F: the next token", 12.5, GREEN)
    p.text(x0 + 10 * cell + 6, y + 60, "B's prompt is through: its first token", 12.5, BLUE)
    p.text(x0 + 10 * cell + 6, y + 84, "E, 40 tokens: 32 remain, and", 12.5, ORANGE)
    p.text(x0 + 10 * cell + 6, y + 101, "nothing is sampled yet", 12.5, ORANGE)

    y = 366
    p.line(20, y - 16, 840, y - 16)
    p.text(20, y + 8, "One flat batch, ragged: no padding. The weights are read once for all 18 rows; each row "
           "attends to the keys of its own", 12.5)
    p.text(20, y + 26, "sequence, through that one's page table. Budget 20 rows, chunks 14 at most: a step stays "
           "short, whatever comes.", 12.5)
    p.write("step.svg")


# ---- 4. Overlap ---------------------------------------------------------------------------------


def overlap():
    p = Picture(392, "Host and device over time: in turns, and overlapped")
    p.text(20, 30, "What the device waits for", 17, bold=True)
    left, unit = 96, 3.02
    kinds = {"plan": (ORANGE_PALE, ORANGE, 18), "deliver": (VIOLET_PALE, VIOLET, 16),
             "compute": (GREEN_PALE, GREEN, 60)}

    def block(kind, n, at, y):
        fill, stroke, ms = kinds[kind]
        name = {"plan": f"{n}", "deliver": f"{n}", "compute": f"step {n}"}[kind]
        p.box(left + at * unit, y, ms * unit - 1, 32, name, fill, stroke, 12.5)
        return at + ms

    def lanes(y, title, note):
        p.text(20, y - 14, title, 14, bold=True)
        p.text(200, y - 14, note, 12.5, DIM)
        p.text(left - 12, y + 21, "host", 12.5, anchor="end")
        p.text(left - 12, y + 69, "device", 12.5, anchor="end")
        p.line(left, y + 40, 840, y + 40, "#e3e7ed")

    x = 336
    for kind, name in (("plan", "plan, enqueue"), ("compute", "compute, sample"), ("deliver", "deliver tokens")):
        p.rect(x, 18, 20, 14, *kinds[kind][:2], 1, 2)
        p.text(x + 27, 30, name, 12.5)
        x += 62 + 8 * len(name)

    y = 84
    lanes(y, "In turns", "the device is idle while the host works")
    at = 0
    for n in (1, 2, 3):
        at = block("plan", n, at, y)
        p.arrow(left + at * unit, y + 32, left + at * unit + 2, y + 47, DIM, 1.2)
        if n > 1:
            idle = kinds["deliver"][2] + kinds["plan"][2]
            p.rect(left + (at - idle) * unit, y + 48, idle * unit - 1, 32, RED_PALE, "#e9b1b1", 1, 0)
            p.text(left + (at - idle / 2) * unit, y + 69, "idle", 12.5, RED, "middle")
        if n == 3:
            p.box(left + at * unit, y + 48, 840 - left - at * unit, 32, "step 3", GREEN_PALE, GREEN, 12.5)
            break
        at = block("compute", n, at, y + 48)
        p.arrow(left + at * unit, y + 47, left + at * unit + 2, y + 33, DIM, 1.2)
        at = block("deliver", n, at, y)

    y = 234
    lanes(y, "Overlapped", "the host is one step ahead: it plans step 2 before it knows step 1's tokens")
    block("plan", 1, 0, y)
    start = 18
    host = 18
    for n in (1, 2, 3, 4):
        end = start + 60
        if n < 4:
            block("compute", n, start, y + 48)
            host = block("plan", n + 1, host, y)
            host = block("deliver", n, end, y)
        else:
            p.box(left + start * unit, y + 48, 840 - left - start * unit, 32, "step 4", GREEN_PALE, GREEN, 12.5)
            block("plan", 5, host, y)
        start = end
    p.text(20, 346, "A row of step 2 says \"the token that this row of step 1 chooses\": the token itself stays "
           "on the device. Who turns out to have ended", 12.5, DIM)
    p.text(20, 364, "with step 1 has one row too many in step 2, which is thrown away. Same tokens, and no idle "
           "device as long as the host is faster.", 12.5, DIM)
    p.write("overlap.svg")


if __name__ == "__main__":
    scheduling_modes()
    states()
    step()
    overlap()
