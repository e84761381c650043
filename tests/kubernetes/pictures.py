"""Small line charts as SVG, for the pictures in docs/ that are drawn from recorded data."""

COLORS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b"]
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 280, 70, 44, 34


def steps(most):
    """Some four round figures up to `most`."""
    size = 1.0
    while most / size > 5:
        size *= 2 if str(size)[0] in "15" else 2.5
    while most / size < 2:
        size /= 2
    return [at * size for at in range(int(most / size) + 1)]


def draw(title, unit, lines, below="seconds", marks=()):
    """`lines`: pairs of a name and its points (x, y); `marks`: pairs of x and what happened there."""
    points = [point for _, line in lines for point in line]
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    most = max(y for _, y in points) * 1.1 or 1.0
    px = lambda x: LEFT + (x - first) / (last - first) * (WIDTH - LEFT - 20)
    py = lambda y: HEIGHT - BOTTOM - y / most * (HEIGHT - BOTTOM - TOP)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">'
    ]
    out.append(
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/><text x="{LEFT}" y="18" font-weight="bold">{title}</text>'
    )
    for y in steps(most):
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{py(y):.1f}" y2="{py(y):.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 6}" y="{py(y) + 4:.1f}" text-anchor="end">{y:g}{unit}</text>')
    for x in steps(last):
        if x >= first:
            out.append(f'<text x="{px(x):.1f}" y="{HEIGHT - 26}" text-anchor="middle">{x:g}</text>')
    for x, text in marks:
        out.append(
            f'<line x1="{px(x):.1f}" x2="{px(x):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#888" stroke-dasharray="4"/>'
        )
        out.append(f'<text x="{px(x) + 4:.1f}" y="{TOP + 10}" fill="#555">{text}</text>')
    for at, (name, line) in enumerate(lines):
        color = COLORS[at % len(COLORS)]
        text = " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in line)
        out.append(f'<polyline fill="none" stroke="{color}" stroke-width="2" points="{text}"/>')
        out.append(
            f'<text x="{WIDTH - 20 - 90 * (len(lines) - at - 1)}" y="18" fill="{color}" text-anchor="end">{name}</text>'
        )
    out.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">{below}</text></svg>')
    return "\n".join(out) + "\n"
