"""What the lessons' pictures are drawn with: an SVG of one width, and its colours.

Only the standard library. The background is white, so that they can be read in dark mode too; the
fonts are the reader's own, and the texts should have room for wide ones.
"""

import html
import math
import pathlib
import sys

WIDTH = 860

INK = "#1c2430"
DIM = "#5b6676"
LINE = "#9aa5b4"
PALE = "#eef1f5"
BLUE, BLUE_PALE = "#2f6fd0", "#d6e5fb"
GREEN, GREEN_PALE = "#1f8a5b", "#d3f0e1"
ORANGE, ORANGE_PALE = "#c96a12", "#fde5cc"
RED, RED_PALE = "#c23b3b", "#fadada"
VIOLET, VIOLET_PALE = "#7350b8", "#e6ddf8"


class Picture:
    def __init__(self, height, title):
        self.height = height
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}" '
            "font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif\">",
            f"<title>{html.escape(title)}</title>",
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        ]

    def rect(self, x, y, w, h, fill=PALE, stroke=LINE, width=1, radius=0):
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" fill="{fill}" '
            f'stroke="{stroke}" stroke-width="{width:g}" rx="{radius:g}"/>')

    def line(self, x1, y1, x2, y2, stroke=LINE, width=1.0, dash=""):
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{stroke}" '
            f'stroke-width="{width:g}"{dashes}/>')

    def arrow(self, x1, y1, x2, y2, stroke=DIM, width=1.5):
        angle = math.atan2(y2 - y1, x2 - x1)
        tip = [(x2, y2)]
        for side in (-0.45, 0.45):
            tip.append((x2 - 8 * math.cos(angle + side), y2 - 8 * math.sin(angle + side)))
        self.line(x1, y1, x2 - 5 * math.cos(angle), y2 - 5 * math.sin(angle), stroke, width)
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in tip)
        self.parts.append(f'<polygon points="{points}" fill="{stroke}"/>')

    def circle(self, x, y, r, fill):
        self.parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="{r:g}" fill="{fill}"/>')

    def text(self, x, y, text, size=13, fill=INK, anchor="start", bold=False):
        weight = ' font-weight="600"' if bold else ""
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{fill}" '
            f'text-anchor="{anchor}"{weight}>{html.escape(text)}</text>')

    def box(self, x, y, w, h, text, fill, stroke, size=12, bold=False):
        self.rect(x, y, w, h, fill, stroke, radius=3)
        self.text(x + w / 2, y + h / 2 + size * 0.36, text, size, anchor="middle", bold=bold)

    def write(self, name):
        """Into the folder of the script that runs."""
        path = pathlib.Path(sys.argv[0]).absolute().parent / name
        path.write_text("\n".join([*self.parts, "</svg>", ""]))
