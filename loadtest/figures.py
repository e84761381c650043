#!/usr/bin/env python3
"""Writes the figures of the documentation from RESULTS.md: docs/reference/figures.md, tables between
`<!-- figures: NAME -->` and `<!-- end -->`, numbers within sentences (QUOTES), and docs/images/beside.svg.

`figures.py --check` says which of them are not what it would write.
"""

import pathlib
import re
import sys
from decimal import ROUND_HALF_UP, Decimal

from beside import picture

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent
PICTURE = "docs/images/beside.svg"
PAGE = "docs/reference/figures.md"


def tables(path):
    """The tables of a page of results: title → row → column → median."""
    found, title, columns = {}, None, []
    for line in path.read_text().splitlines():
        if line.startswith("## "):
            title = line[3:]
        elif line.startswith("| | "):
            columns = [cell.strip() for cell in line.strip("|").split("|")[1:]]
            found[title] = {}
        elif title in found and (row := re.match(r"\| (\w+) \| (.*) \|$", line)):
            cells = [re.match(r"(?:[\d.]+/)?([\d.]+)", cell.strip()) for cell in row[2].split("|")]
            found[title][row[1]] = {name: float(cell[1]) for name, cell in zip(columns, cells) if cell}
    return found


RESULTS, THREE, OTHER = (tables(HERE / f"{name}.md") for name in ["RESULTS", "UNICAST", "WAYS"])


def case(begin, results=RESULTS):
    """The first case whose title begins so."""
    for title, rows in results.items():
        if title.startswith(begin):
            return rows
    sys.exit(f"there is no case {begin!r}")


FANOUT, USERS = case("fanout: 10,000"), case("channels: users")
BURST, WAYS = case("burst"), case("ways: 10,000", OTHER)
SMALL, LARGE = case("compress: 2,000 subscribers, 200 B"), case("compress: 2,000 subscribers, 2048 B")
FEW, HANDSHAKES = case("ways: 2,000", OTHER), case("handshakes: 5,000", OTHER)
STORM, UNICAST = case("storm: shared"), case("unicast: POST with Redis, 4,000", THREE)


OWN = [case("unicast: XADD, 1,000"), case("unicast: XADD, 4,000"), case("unicast: POST with Redis, 4,000")]
FOLLOWED = {title: rows for title, rows in RESULTS.items() if re.match(r"follow: [\d,]+ channels", title)}
IN_MEMORY = case("unicast: POST in memory, 4,000")
UNICAST_SERVERS = ["fantail", "nchan", "centrifugo"]


def short(value, digits=2):
    """To so many digits, as people write it."""
    exact = Decimal(str(value))
    rounded = exact.quantize(Decimal(1).scaleb(exact.adjusted() - digits + 1), ROUND_HALF_UP)
    return f"{rounded:,f}" if rounded >= 10 else f"{rounded.normalize():f}"


def down(value, step):
    return f"{int(value // step) * step:,}"


def of(rows, name, column="fantail", digits=2):
    return short(rows[name][column], digits)


def rate(rows, column="fantail"):
    """Deliveries of one core in a second, rounded down."""
    return down(rows["events_per_cpu_s"][column] * 1e6, 10_000)


def per_core(micros, step=1_000):
    """Events of so many µs each that a core carries in a second, rounded down."""
    return down(1e6 / micros, step)


def bytes_of(rows, column):
    """Bytes on the wire of a delivery."""
    return f"{rows['wire_bytes'][column]:,.0f}"


CLOSE = ["fantail", "fantail TLS", "fantail HTTP/2", "fantail HTTP/2 TLS"]
SERVERS = ["fantail", "nchan", "hyper-body"]
ENDS = ["fantail TLS", "nginx TLS, fantail", "fantail HTTP/2 TLS", "nginx HTTP/2 TLS, fantail"]


def per_subscriber():
    row = lambda what, first, name: [what, first, *(of(WAYS, name, way) for way in CLOSE[1:])]
    return [
        ["for each subscriber", "HTTP/1.1", "HTTP/1.1, TLS", "HTTP/2", "HTTP/2, TLS"],
        row(
            "memory of the node, KiB",
            f"{of(WAYS, 'memory_kib', digits=1)}; {of(USERS, 'memory_kib', digits=1)} with one own and three shared channels",
            "memory_kib",
        ),
        row(
            "CPU for each event delivered, µs",
            f"{of(WAYS, 'cpu_us')}; {of(BURST, 'cpu_us', digits=1)} in bursts of 100",
            "cpu_us",
        ),
        row("CPU to join, µs", f"{of(WAYS, 'join_us')}; {of(USERS, 'join_us')} with four channels", "join_us"),
        ["deliveries of one core in a second", *(rate(WAYS, way) for way in CLOSE)],
    ]


def beside():
    row = lambda what, rows, name: [what, *(of(rows, name, server) for server in SERVERS)]
    return [
        ["one channel, many subscribers", "Fantail", "nchan", "hyper's response body"],
        row("CPU for each delivery of 200 bytes, µs", FANOUT, "cpu_us"),
        row("memory of a subscriber, KiB", FANOUT, "memory_kib"),
        row("CPU for each join, µs", FANOUT, "join_us"),
        row("clients back in a second after the server was killed", STORM, "joins_per_s"),
    ]


def ends():
    row = lambda what, rows, name: [what, *(of(rows, name, server) for server in ENDS)]
    return [
        ["2,000 subscribers; handshakes of 5,000", "TLS by Fantail", "by nginx in front", "HTTP/2 and TLS by Fantail", "by nginx in front"],
        row("CPU for each delivery of 200 bytes, µs", FEW, "cpu_us"),
        row("memory of a subscriber, KiB", FEW, "memory_kib"),
        row("CPU to join with a whole handshake, µs", HANDSHAKES, "join_us"),
        row("CPU to join with a ticket, µs", HANDSHAKES, "join_resumed_us"),
        row("5,000 that come at once with tickets are live after, s", HANDSHAKES, "storm_s"),
    ]


def unicast():
    row = lambda what, rows: [what, *(of(rows, "cpu_us", name) if name in rows["cpu_us"] else "–" for name in UNICAST_SERVERS)]
    return [
        ["CPU for each event, µs", "Fantail", "nchan", "Centrifugo"],
        row("three runs with all three ([UNICAST](../loadtest/UNICAST.md))", UNICAST),
        row("the run of RESULTS", OWN[2]),
        row("the run of RESULTS, events kept in memory instead of Redis", IN_MEMORY),
    ]


def own():
    times = lambda rows: f"{of(rows, 'p50_ms')}, {of(rows, 'p99_ms')}"
    return [
        ["events a second", "1,000", "4,000", "4,000, published over HTTP"],
        ["the node's CPU for each event, µs", *(of(rows, "cpu_us") for rows in OWN)],
        ["Redis' CPU for each event, `XADD` included, µs", *(of(rows, "redis_us") for rows in OWN)],
        ["50 and 99 % of them arrive within, ms", *(times(rows) for rows in OWN)],
    ]


def redis():
    rows = FOLLOWED.values()
    return [
        ["streams", *(re.search(r"[\d,]+", title)[0] for title in FOLLOWED)],
        ["CPU of Redis for each event, `XADD` included, µs", *(of(row, "redis_us") for row in rows)],
        ["commands for each event, `XADD` included", *(of(row, "redis_commands") for row in rows)],
    ]


TABLES = {"per subscriber": per_subscriber, "ends": ends, "beside": beside, "unicast": unicast, "own": own, "redis": redis}

# What an event costs that one subscriber has, and what Redis pays for one that one node reads, µs.
OWN_COSTS = [rows["cpu_us"]["fantail"] for rows in OWN]
REDIS_COSTS = [rows["redis_us"]["fantail"] for rows in [*OWN, *FOLLOWED.values()]]
# How much of Redis' core may be used.
USED = 0.7

# Numbers within sentences: page, the words around the number, what it is.
QUOTES = [
    ("docs/operating.md", r"one core delivers ([\d,]+) events a second over HTTP/1.1", rate(WAYS)),
    ("docs/operating.md", r"events a second over HTTP/1.1 and ([\d,]+) over HTTP/2", rate(WAYS, CLOSE[2])),
    ("docs/operating.md", r"core carries ([\d,]+) to [\d,]+ such events a second", per_core(max(OWN_COSTS))),
    ("docs/operating.md", r"to ([\d,]+) such events a second", per_core(min(OWN_COSTS))),
    ("docs/operating.md", r"70 % carries ([\d,]+) to [\d,]+ events a second to one node", per_core(max(REDIS_COSTS) / USED)),
    ("docs/operating.md", r"to ([\d,]+) events a second to one node", per_core(min(REDIS_COSTS) / USED)),
    ("docs/operating.md", r"because each costs ([\d.]+) to [\d.]+ µs", short(min(REDIS_COSTS))),
    ("docs/operating.md", r"each costs [\d.]+ to ([\d.]+) µs", short(max(REDIS_COSTS))),
    ("docs/operating.md", r"it helps from ([\d,]+) events a second on", per_core(max(REDIS_COSTS) / USED)),
    ("docs/operating.md", r"bursts of 100 on one channel an event costs ([\d.]+) µs", of(BURST, "redis_us")),
    ("docs/operating.md", r"core takes ([\d,]+) joins a second over TLS", of(WAYS, "joins_per_s", CLOSE[1])),
    ("docs/operating.md", r"the last of 10,000 subscribers has an event ([\d.]+) ms", of(FANOUT, "last_ms")),
    ("docs/kubernetes.md", r"[Oo]ne core delivers ([\d,]+) events a second", rate(WAYS)),
    ("docs/kubernetes.md", r"or ([\d,]+) if proxies speak HTTP/2", rate(WAYS, CLOSE[2])),
    ("docs/kubernetes.md", r"core carries ([\d,]+) to [\d,]+ of them a second", per_core(max(OWN_COSTS))),
    ("docs/kubernetes.md", r"to ([\d,]+) of them a second", per_core(min(OWN_COSTS))),
    ("docs/kubernetes.md", r"subscriber takes ([\d.]+) to [\d.]+ KiB in the node", of(FANOUT, "memory_kib", digits=1)),
    ("docs/kubernetes.md", r"to ([\d.]+) KiB in the node", of(USERS, "memory_kib", digits=1)),
    ("docs/compression.md", r"one of 2,048 bytes takes ([\d,]+) instead of", bytes_of(LARGE, "fantail gzip")),
    ("docs/compression.md", r"one of 2,048 bytes takes [\d,]+ instead of ([\d,]+)", bytes_of(LARGE, "fantail")),
    ("docs/compression.md", r"one of 200 bytes ([\d,]+) instead of", bytes_of(SMALL, "fantail gzip")),
    ("docs/compression.md", r"one of 200 bytes [\d,]+ instead of ([\d,]+)", bytes_of(SMALL, "fantail")),
    ("docs/compression.md", r"a delivery takes ([\d.]+) µs of CPU instead of", of(SMALL, "cpu_us", "fantail gzip")),
    ("docs/compression.md", r"µs of CPU instead of ([\d.]+),", of(SMALL, "cpu_us")),
    ("docs/compression.md", r"a subscriber ([\d.]+) KiB instead of", of(SMALL, "memory_kib", "fantail gzip")),
    ("docs/compression.md", r"KiB instead of ([\d.]+) \(", of(SMALL, "memory_kib")),
    ("docs/concepts.md", r"and ([\d.]+) to [\d.]+ KiB of the node's memory", of(FANOUT, "memory_kib", digits=1)),
    ("docs/concepts.md", r"to ([\d.]+) KiB of the node's memory", of(USERS, "memory_kib", digits=1)),
]
# What looks like such a number and is in no quote.
STRAY = r"core\s+delivers\D{0,20}[\d,]{5,}"


def markdown(rows):
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def page():
    when, other = (
        re.search(r"(\d{4}-\d\d-\d\d) .*?; (\d+ cores, [^;]*);", (HERE / f"{name}.md").read_text()) for name in ["RESULTS", "WAYS"]
    )
    return f"""# Figures

`loadtest/figures.py` writes this page from [RESULTS](../../loadtest/RESULTS.md), and what has to do with TLS and HTTP/2 from
[WAYS](../../loadtest/WAYS.md): medians of {when[1]} ({when[2]}) and {other[1]} ({other[2]}), events of
200 bytes.
Every other page quotes it, and a test compares them. Measure on your own machines: ratios carry over, absolute figures do not.

## A node

{markdown(per_subscriber())}

## TLS and HTTP/2, beside nginx in front

CPU and memory are those of nginx and of the node behind it together:

{markdown(ends())}

## Redis

One node, 1,000 events a second spread over the streams:

{markdown(redis())}

## Beside others

10,000 subscribers of one channel, HTTP/1.1 (the last row: 15,000):

{markdown(beside())}

4,000 events a second, each for one subscriber, published by `POST` with Redis behind:

{markdown(unicast()).replace("](../", "](../../")}

![CPU and memory beside others](../images/beside.svg)
"""


def with_tables(text):
    def table(found):
        return f"<!-- figures: {found[1]} -->\n\n{markdown(TABLES[found[1]]())}\n\n<!-- end -->"

    return re.sub(r"<!-- figures: ([\w ]+) -->.*?<!-- end -->", table, text, flags=re.DOTALL)


def with_quotes(name, text):
    for where, words, value in QUOTES:
        if where == name:
            # However the lines are broken.
            words = words.replace(" ", r"\s+")
            if not re.search(words, text):
                sys.exit(f"{name} does not say {words!r}")
            text = re.sub(words, lambda found: found[0].replace(found[1], value), text)
    stray = [found[0] for found in re.finditer(STRAY, text)]
    if len(stray) > sum(where == name and "delivers" in words for where, words, _ in QUOTES):
        sys.exit(f"{name}: put these into QUOTES of loadtest/figures.py: {stray}")
    return text


def written():
    """Every file with what it has to hold."""
    bars = [
        ("CPU for each delivery, µs", "10,000 subscribers of one channel", FANOUT["cpu_us"], SERVERS),
        ("Memory of a subscriber, KiB", "10,000 subscribers of one channel", FANOUT["memory_kib"], SERVERS),
        ("CPU for each event, µs", "POST, one subscriber each", UNICAST["cpu_us"], UNICAST_SERVERS),
    ]
    found = {PAGE: page(), PICTURE: picture(bars)}
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        name = str(path.relative_to(ROOT))
        if name not in found:
            found[name] = with_quotes(name, with_tables(path.read_text()))
    return found


def main():
    stale = {name: text for name, text in written().items() if not (ROOT / name).exists() or (ROOT / name).read_text() != text}
    if "--check" not in sys.argv[1:]:
        for name, text in stale.items():
            (ROOT / name).write_text(text)
    elif stale:
        sys.exit(f"not what loadtest/figures.py writes: {', '.join(stale)}")


if __name__ == "__main__":
    main()
