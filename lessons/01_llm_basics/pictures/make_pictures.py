#!/usr/bin/env python3
"""Draws the pictures of lesson 01 from what its program computed:

    ./bazelw run //lessons/01_llm_basics -- --json "$PWD/report.json"
    python3 lessons/01_llm_basics/pictures/make_pictures.py report.json

attention.svg is drawn by the program itself (--svg); those of the tokenizer too. Only the standard
library. The background is white, so that they can be read in dark mode too.
"""

import html
import json
import math
import pathlib
import sys

WIDTH = 860
INK, DIM, LINE, PALE = "#1c2430", "#5b6676", "#9aa5b4", "#eef1f5"
BLUE, GREEN, ORANGE, VIOLET = "#2f6fd0", "#1f8a5b", "#c96a12", "#7350b8"


class Picture:
    def __init__(self, height, title):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}" '
            "font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif\">",
            f"<title>{html.escape(title)}</title>",
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        ]
        self.text(20, 28, title, 16, bold=True)

    def rect(self, x, y, w, h, fill, stroke="none"):
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" fill="{fill}" '
                          f'stroke="{stroke}" rx="2"/>')

    def line(self, points, stroke=LINE, width=1.0, dash=""):
        where = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<polyline points="{where}" fill="none" stroke="{stroke}" '
                          f'stroke-width="{width:g}"{dashes}/>')

    def arrow(self, x1, y1, x2, y2, stroke=DIM, width=2.0):
        angle = math.atan2(y2 - y1, x2 - x1)
        tip = [(x2, y2)] + [(x2 - 9 * math.cos(angle + side), y2 - 9 * math.sin(angle + side))
                            for side in (-0.4, 0.4)]
        self.line([(x1, y1), (x2 - 6 * math.cos(angle), y2 - 6 * math.sin(angle))], stroke, width)
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in tip)
        self.parts.append(f'<polygon points="{points}" fill="{stroke}"/>')

    def circle(self, x, y, r, fill, stroke="none"):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:g}" fill="{fill}" '
                          f'stroke="{stroke}"/>')

    def text(self, x, y, text, size=13, fill=INK, anchor="start", bold=False):
        weight = ' font-weight="600"' if bold else ""
        self.parts.append(f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{fill}" '
                          f'text-anchor="{anchor}"{weight}>{html.escape(text)}</text>')

    def write(self, name):
        path = pathlib.Path(__file__).absolute().parent / name
        path.write_text("\n".join([*self.parts, "</svg>", ""]), encoding="utf-8")


class Chart:
    """Axes in a box of a picture: x from 0 to x_max; y as a power of ten, or linear."""

    def __init__(self, picture, box, x_max, y_range, log=False, ticks=(), x_label=""):
        self.p, (self.x, self.y, self.w, self.h), self.x_max = picture, box, x_max
        self.log, (self.low, self.high) = log, y_range
        for value, label in ticks:
            _, y = self.at(0, value)
            picture.line([(self.x, y), (self.x + self.w, y)], "#dfe4ea")
            picture.text(self.x - 8, y + 4, label, 12, DIM, "end")
        picture.line([(self.x, self.y + self.h), (self.x + self.w, self.y + self.h)], LINE)
        picture.text(self.x + self.w, self.y + self.h + 34, x_label, 12, DIM, "end")

    def at(self, x, y):
        f = math.log10 if self.log else float
        part = (f(max(y, self.low)) - f(self.low)) / (f(self.high) - f(self.low))
        return self.x + self.w * x / self.x_max, self.y + self.h * (1 - part)

    def curve(self, values, color):
        points = [self.at(x, y) for x, y in values]
        self.p.line(points, color, 2)
        return points

    def layers(self, n):
        for layer in range(0, n, 5):
            x, _ = self.at(layer, self.low)
            self.p.text(x, self.y + self.h + 18, str(layer), 12, DIM, "middle")


def embedding():
    p = Picture(250, "Embedding: rows are arrows, and alike means the same direction")
    origin = (70, 225)
    for (x, y), name, color in (((3, 4), "u = [3, 4]", BLUE), ((4, 3), "v = [4, 3]", GREEN)):
        tip = (origin[0] + 40 * x, origin[1] - 40 * y)
        p.arrow(*origin, *tip, color)
        p.text(tip[0] + 8, tip[1] + 4, name, 13, color)
    p.line([(40, 225), (290, 225)])
    p.line([(70, 240), (70, 45)])
    rows = ["u · v = 3·4 + 4·3 = 24", "|u| = |v| = √(3² + 4²) = 5",
            "cosine = 24 / (5 · 5) = 0.96", "1: same direction.  0: nothing in common."]
    for i, row in enumerate(rows):
        p.text(400, 95 + 30 * i, row, 15, INK if i < 3 else DIM)
    p.write("embedding.svg")


def norm(shown):
    layers = shown["norm"]["layers"]
    p = Picture(300, "Root mean square of the residual stream, before and after RMSNorm")
    chart = Chart(p, (80, 60, 560, 190), len(layers) - 1, (0.01, 1000), True,
                  [(10 ** e, f"{10 ** e:g}") for e in range(-2, 4)], "layer")
    chart.layers(len(layers))
    for which, index, color, key in (("first token", 0, ORANGE, "before"),
                                     ("last token", 1, BLUE, "before"),
                                     ("first token, after its norm", 0, VIOLET, "after"),
                                     ("last token, after its norm", 1, GREEN, "after")):
        points = chart.curve([(i, layer[key][index]) for i, layer in enumerate(layers)], color)
        dy = {VIOLET: 14, GREEN: -6}.get(color, 4)
        p.text(points[-1][0] + 10, points[-1][1] + dy, which, 12, color)
    p.write("norm.svg")


def rope():
    p = Picture(270, "RoPE: each position turns a pair a little further")
    for x, frequency, name in ((150, 1.0, "pair 0: 1 radian a token"),
                               (430, 0.01, "pair 1: 0.01 radians a token")):
        p.circle(x, 145, 80, "none", LINE)
        for position, color in enumerate((BLUE, GREEN, ORANGE)):
            angle = frequency * position
            p.arrow(x, 145, x + 80 * math.cos(angle), 145 - 80 * math.sin(angle), color)
            shift = 0 if frequency == 1 else 16 * (1 - position)
            p.text(x + 88 * math.cos(angle), 149 - 92 * math.sin(angle) + shift,
                   f"p = {position}", 12, color, "start" if math.cos(angle) > 0 else "end")
        p.text(x, 250, name, 13, INK, "middle")
    for i, row in enumerate(("Positions 2 and 0: the angle", "between them is 2 radians.",
                             "Positions 7 and 5: 2 radians.", "So their product is the same.")):
        p.text(610, 105 + 26 * i, row, 14)
    p.write("rope.svg")


def ffn():
    p = Picture(270, "silu(x) = x / (1 + e⁻ˣ): a gate that is shut below, open above")
    chart = Chart(p, (80, 55, 400, 170), 8, (-1, 4), False,
                  [(y, str(y)) for y in range(-1, 5)], "")
    for x in range(-4, 5):
        p.text(chart.at(x + 4, 0)[0], 243, str(x), 12, DIM, "middle")
    chart.curve([(x / 10, (x / 10 - 4) / (1 + math.exp(4 - x / 10))) for x in range(81)], BLUE)
    for x, label in ((2, "silu(2) = 1.7616"), (-1, "silu(-1) = -0.2689")):
        px, py = chart.at(x + 4, x / (1 + math.exp(-x)))
        p.circle(px, py, 4, ORANGE)
        p.text(px + (8 if x > 0 else -10), py + (16 if x > 0 else -12), label, 12, ORANGE,
               "start" if x > 0 else "middle")
    for i, row in enumerate(("hidden = silu(gate) · up", "gate  2, up 3:  1.7616 · 3 = 5.2848",
                             "gate -1, up 5: -0.2689 · 5 = -1.3447")):
        p.text(540, 110 + 28 * i, row, 14)
    p.write("ffn.svg")


def residual(shown):
    layers = shown["residual"]["layers"]
    p = Picture(310, "Residual stream of the last token: what is there, and what each block adds")
    chart = Chart(p, (80, 60, 600, 200), len(layers) - 1, (1, 1000), True,
                  [(1, "1"), (10, "10"), (100, "100"), (1000, "1000")], "layer")
    chart.layers(len(layers))
    for index, name, color in ((0, "x", INK), (1, "+ attention", BLUE),
                               (2, "+ feed-forward", ORANGE)):
        points = chart.curve([(i, layer[index]) for i, layer in enumerate(layers)], color)
        p.text(points[-1][0] + 10, points[-1][1] + 4, name, 13, color)
    p.text(80, 300, "lengths, on a logarithmic scale", 12, DIM)
    p.write("residual.svg")


def logits(shown):
    layers = shown["logits"]["layers"]
    p = Picture(300, "The logit lens: the rank of the answer after each layer")
    chart = Chart(p, (80, 55, 700, 195), len(layers) - 1, (1, 10000), True,
                  [(10 ** e, f"{10 ** e}") for e in range(5)], "layer")
    chart.layers(len(layers))
    for x, y in chart.curve([(layer["layer"], layer["rank"]) for layer in layers], VIOLET):
        p.circle(x, y, 3, VIOLET)
    p.text(80, 290, "rank 1: the likeliest of all tokens; on a logarithmic scale", 12, DIM)
    p.write("logits.svg")


def params(shown):
    p = Picture(130, "Where the parameters are")
    parts = shown["params"]
    total = sum(part["by_config"] for part in parts.values())
    x = 20.0
    for (name, part), color in zip(parts.items(), (BLUE, GREEN, ORANGE, DIM, VIOLET)):
        width = (WIDTH - 40) * part["by_config"] / total
        if width > 30:
            p.rect(x, 50, width, 34, color)
            p.text(x + width / 2, 72, f"{100 * part['by_config'] / total:.0f}%", 13, "#ffffff",
                   "middle", bold=True)
            p.text(x + width / 2, 106, f"{name} {part['by_config'] / 1e6:.1f}M", 13, INK, "middle")
        x += width
    p.write("params.svg")


def main():
    shown = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))["shown"]
    # JSON objects come sorted by name; a token meets the parts in this order.
    shown["params"] = {name: shown["params"][name] for name in
                       ("embedding", "attention", "feed-forward", "norms", "output")}
    embedding()
    norm(shown)
    rope()
    ffn()
    residual(shown)
    logits(shown)
    params(shown)


if __name__ == "__main__":
    main()
