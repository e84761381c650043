"""Small line charts as SVG, for the pictures in docs/ that are drawn from recorded data."""

import math

COLORS = ["#1f77b4", "#d95f02", "#2ca02c", "#d62728", "#9467bd", "#8c564b"]
WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM = 720, 300, 70, 20, 44
# Title, names of the lines, and what happened are above the chart, each in rows of its own.
ROW, SWATCH, GAP = 16, 14, 18


def wide(text):
    """About how wide a text of this size is drawn."""
    return 6.6 * len(text)


def steps(most):
    """Two to five round figures up to `most`, beside 0: one, two or five, and zeros."""
    power = 10.0 ** math.floor(math.log10(most))
    size = next(size for size in (5 * power, 2 * power, power, power / 2) if most / size >= 2)
    return [float(f"{at * size:.9g}") for at in range(int(most / size) + 1)]


def rows_of(widths, room):
    """Where texts of these widths begin, and in which row, so that none covers another: pairs of x and row."""
    places, x, row = [], 0, 0
    for width in widths:
        if x and x + width > room:
            x, row = 0, row + 1
        places.append((x, row))
        x += width + GAP
    return places


def rows_of_marks(spans):
    """The row of each text that spans from one x to another: the first one in which nothing is in its way."""
    ends, rows = [], []
    for begin, end in spans:
        row = next((row for row, last in enumerate(ends) if last < begin), len(ends))
        ends[row : row + 1] = [end + 6]
        rows.append(row)
    return rows


def draw(title, unit, lines, below="seconds", marks=()):
    """`lines`: pairs of a name and its points (x, y); `marks`: pairs of x and what happened there."""
    points = [point for _, line in lines for point in line]
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    most = max(y for _, y in points) * 1.1 or 1.0
    right = WIDTH - RIGHT
    px = lambda x: LEFT + (x - first) / (last - first) * (right - LEFT)
    legend = rows_of([SWATCH + 4 + wide(name) for name, _ in lines], right - LEFT)
    # A text stands behind its line, or before it where it would leave the picture.
    marks = sorted(marks)
    spans = [(px(x) + 4, px(x) + 4 + wide(text)) for x, text in marks]
    spans = [(begin - 8 - (end - begin), begin - 8) if end > WIDTH else (begin, end) for begin, end in spans]
    spoken = rows_of_marks(spans)
    names = 40
    happened = names + ROW * (legend[-1][1] + 1)
    top = happened + ROW * (max(spoken, default=-1) + 1)
    py = lambda y: HEIGHT - BOTTOM - y / most * (HEIGHT - BOTTOM - top)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/><text x="{LEFT}" y="20" font-weight="bold">{title}</text>',
    ]
    for y in steps(most):
        out.append(f'<line x1="{LEFT}" x2="{right}" y1="{py(y):.1f}" y2="{py(y):.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 6}" y="{py(y) + 4:.1f}" text-anchor="end">{y:g}{unit}</text>')
    for x in steps(last):
        if x >= first:
            out.append(f'<text x="{px(x):.1f}" y="{HEIGHT - 26}" text-anchor="middle">{x:g}</text>')
    for (x, _), row in zip(marks, spoken):
        y = happened + ROW * row - 8
        out.append(
            f'<line x1="{px(x):.1f}" x2="{px(x):.1f}" y1="{y}" y2="{HEIGHT - BOTTOM}" stroke="#888" stroke-dasharray="4"/>'
        )
    for (_, text), (begin, _), row in zip(marks, spans, spoken):
        # White around the text, where another mark's line is behind it.
        style = 'fill="#555" stroke="white" stroke-width="4" paint-order="stroke"'
        out.append(f'<text x="{begin:.1f}" y="{happened + ROW * row}" {style}>{text}</text>')
    for at, ((name, line), (x, row)) in enumerate(zip(lines, legend)):
        color = COLORS[at % len(COLORS)]
        text = " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in line)
        out.append(f'<polyline fill="none" stroke="{color}" stroke-width="2" points="{text}"/>')
        y = names + ROW * row
        out.append(f'<rect x="{LEFT + x}" y="{y - 8}" width="{SWATCH}" height="4" fill="{color}"/>')
        out.append(f'<text x="{LEFT + x + SWATCH + 4}" y="{y}">{name}</text>')
    out.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">{below}</text></svg>')
    return "\n".join(out) + "\n"
