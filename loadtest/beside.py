"""Bars of servers beside each other, as SVG."""

COLORS = {"fantail": "#1f77b4", "nchan": "#8a8a8a", "hyper-body": "#b5b5b5", "centrifugo": "#6d6d6d"}
NAMES = {"fantail": "Fantail", "nchan": "nchan", "hyper-body": "bare hyper", "centrifugo": "Centrifugo"}
PANEL, HEIGHT, LEFT, BAR = 290, 190, 92, 26


def panel(at, title, below, values, servers):
    """One panel: a bar for each server, with its figure behind it."""
    x = at * PANEL + 10
    out = [
        f'<text x="{x}" y="24" font-weight="bold">{title}</text>',
        f'<text x="{x}" y="42" fill="#555">{below}</text>',
    ]
    most = max(values[server] for server in servers)
    for row, server in enumerate(servers):
        y = 58 + row * (BAR + 12)
        width = max(values[server] / most * (PANEL - LEFT - 70), 1)
        value = f"{values[server]:.1f}" if values[server] < 100 else f"{values[server]:.0f}"
        out += [
            f'<text x="{x + LEFT - 8}" y="{y + 18}" text-anchor="end">{NAMES[server]}</text>',
            f'<rect x="{x + LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{COLORS[server]}"/>',
            f'<text x="{x + LEFT + width + 6:.1f}" y="{y + 18}">{value}</text>',
        ]
    return out


def picture(panels):
    """`panels`: title, what was measured, figures by server, servers in order."""
    width = PANEL * len(panels) + 10
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT}" viewBox="0 0 {width} {HEIGHT}" font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{HEIGHT}" fill="white"/>',
    ]
    for at, parts in enumerate(panels):
        out += panel(at, *parts)
    return "\n".join([*out, "</svg>"]) + "\n"
