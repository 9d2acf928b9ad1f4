"""The page with plots: one HTML file that needs nothing else, no network and no script."""

import html

import measure

# Title, what is plotted, scale, unit, and which way is better.
PLOTS = [
    ("Tokens of an answer per second", "decode_tok_s", 1, "tokens/s", "more is better"),
    ("Tokens of all answers per second", "output_tok_s", 1, "tokens/s", "more is better"),
    ("Time to first token", "ttft_ms", 1, "ms", "less is better"),
    ("Time per token after it", "tpot_ms", 1, "ms", "less is better"),
    ("Prompt tokens per second", "prefill_tok_s", 1, "tokens/s", "more is better"),
    ("Fraction of the roofline", "roofline_fraction", 100, "%", "of what the memory allows"),
    ("Peak memory of the process", "peak_bytes", 1e-6, "MB", "less is better"),
]

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68em; margin: 2em auto; padding: 0 1em;
       color: #222; background: #fff; }
table { border-collapse: collapse; font-size: 13px; display: block; overflow-x: auto; }
td, th { white-space: nowrap; padding: .25em .7em; text-align: right; border-bottom: 1px solid #ddd; }
td:first-child, th:first-child { text-align: left; }
.plots { display: flex; flex-wrap: wrap; gap: 1em; }
figure { margin: 0; }
figcaption { font-weight: 600; } figcaption span { font-weight: 400; color: #666; }
text { font: 12px system-ui, sans-serif; fill: #222; }
.note, .bad { margin: .3em 0; font-size: 13px; } .bad { color: #b00020; }
pre { background: #f5f5f5; padding: .7em; overflow-x: auto; }
"""

COLORS = {"lesson": "#3366aa", "peer": "#cc8844"}
LABELS, BARS, FIGURES, ROW = 170, 200, 80, 24  # widths and a height, in pixels


def plot(title, metric, scale, unit, better, summaries):
    """Horizontal bars of the medians, with a line from the smallest value to the largest."""
    shown = [s for s in summaries if measure.measured(s, metric)]
    top = max((s[metric]["max"] for s in shown), default=0) or 1
    parts = []
    for i, s in enumerate(shown):
        y = i * ROW
        values = s[metric]
        median, low, high = (LABELS + BARS * values[key] / top for key in ("median", "min", "max"))
        parts.append(
            f'<text x="{LABELS - 8}" y="{y + 16}" text-anchor="end">{html.escape(s["name"])}</text>'
            f'<rect x="{LABELS}" y="{y + 4}" width="{max(median - LABELS, 1):.1f}" height="16" '
            f'fill="{COLORS[s["kind"]]}"/>'
            f'<path d="M{low:.1f} {y + 12}H{high:.1f}M{low:.1f} {y + 8}v8M{high:.1f} {y + 8}v8" '
            f'stroke="#222" fill="none"/>'
            f'<text x="{LABELS + BARS + 6}" y="{y + 16}">'
            f'{measure.figure(values["median"] * scale)} {unit}</text>')
    if not parts:
        return ""
    return (f"<figure><figcaption>{title} <span>{better}</span></figcaption>"
            f'<svg width="{LABELS + BARS + FIGURES + 40}" height="{len(shown) * ROW}" role="img" '
            f'aria-label="{title}">{"".join(parts)}</svg></figure>')


def html_table(header, rows):
    def line(tag, cells):
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"
    return "<table>" + line("th", header) + "".join(line("td", row) for row in rows) + "</table>"


def page(result, ladder, remarks, about):
    """The whole page; `ladder(workload)` gives header and rows, `remarks(workload)` sentences, each
    with whether it is bad news, `about(workload)` what was asked for."""
    machine = result["machine"]
    on = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB"
    if "gpu" in machine:
        on += f"; {machine['gpu']}, driver {machine['driver']}"
    parts = [f"<h1>The lessons, one after another</h1><p>{html.escape(on)}; commit "
             f"{html.escape(result['commit'])}; load average when it began and ended "
             f"{result['load_average'][0]} and {result['load_average'][1]}.</p>"
             f"<pre>{html.escape(result['command'])}</pre>"]
    for workload in result["workloads"]:
        parts.append(f"<h2>{html.escape(workload['name'])}</h2>"
                     f"<p>{html.escape(about(workload))}</p>")
        parts.append(html_table(*ladder(workload)))
        parts += [f'<p class="{"bad" if bad else "note"}">{html.escape(sentence)}</p>'
                  for bad, sentence in remarks(workload)]
        parts.append('<div class="plots">')
        parts += [plot(*description, workload["entries"]) for description in PLOTS]
        parts.append("</div>")
    return ('<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>AIOS: the lessons '
            f"compared</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n")
