"""A run of the load suite beside the nodes that it loads. The metrics are k6's, by remote write (k6/README.md)."""

from board import RATE, Board, metric, quantile, rate

RUN = 'testid=~"$testid"'


def of_run(name, grouping="sum"):
    return f"{grouping} ({name}{{{RUN}}})"


def rate_of_run(name, by=""):
    return f"sum{f' by ({by})' if by else ''} (rate({name}{{{RUN}}}[{RATE}]))"


def k6():
    what = "A run of the load suite: what its clients saw beside what the nodes did."
    board = Board("k6", "k6", what, more=[("testid", "Run", "k6_sse_open_streams")])
    board.row("Crowd and nodes")
    board.graph(
        "Streams",
        "short",
        "Streams that k6 holds, and subscribers of the nodes.",
        (of_run("k6_sse_open_streams"), "k6"),
        (f"sum({metric('fantail_connections')})", "nodes"),
    )
    board.graph(
        "Events",
        "ops",
        "Events that k6 got, and that the nodes wrote to sockets, per second.",
        (rate_of_run("k6_sse_events_total"), "k6"),
        (rate("fantail_events_delivered_total", by=""), "nodes"),
    )
    board.graph(
        "Lag p95",
        "s",
        "k6's counts from when the event was due to when it was read, the nodes' from the entry's time to the socket.",
        (of_run("k6_sse_event_lag_p95", "max"), "k6"),
        (quantile(0.95, "fantail_delivery_lag_seconds"), "nodes"),
    )
    board.graph(
        "Connecting p95",
        "s",
        "From the request to the answer's head; reconnects from the loss, with the delay that the node asked for.",
        (of_run("k6_sse_connect_duration_p95", "max"), "connects"),
        (of_run("k6_sse_reconnect_duration_p95", "max"), "reconnects"),
    )
    board.row("Exactness")
    board.graph(
        "Lost, repeated, out of order",
        "short",
        "Numbers that never came, came twice or late. announced: within a gap that the node told.",
        (of_run("k6_sse_lost_total", "sum by (announced)"), "lost, announced {{announced}}"),
        (of_run("k6_sse_duplicates_total"), "repeated"),
        (of_run("k6_sse_reordered_total"), "out of order"),
    )
    board.graph(
        "Gaps",
        "short",
        "fantail.gap as k6 saw it, and as the nodes announced it in the last hour.",
        (of_run("k6_sse_gaps_total"), "k6"),
        (f"sum(increase({metric('fantail_gaps_total')}[1h]))", "nodes"),
    )
    board.row("Comings and goings")
    board.graph(
        "Reconnects and resumes",
        "ops",
        "Streams that were lost and open again, and how the nodes let subscribers go on, per second.",
        (rate_of_run("k6_sse_reconnects_total"), "reconnects"),
        (rate("fantail_resumes_total", by="outcome"), "resumed: {{outcome}}"),
    )
    board.graph(
        "Errors",
        "ops",
        "What k6 met, what the nodes refused, and why subscribers went, per second.",
        (f"{rate_of_run('k6_sse_errors_total', 'code')} or {of_run('k6_sse_connects_total')} * 0", "k6: {{code}}"),
        (rate("fantail_connections_refused_total", by="reason"), "refused: {{reason}}"),
        (rate("fantail_connections_closed_total", by="reason"), "went: {{reason}}"),
    )
    board.row("Publisher")
    board.graph(
        "Published",
        "ops",
        "Events that k6 published, and that a node read, per second.",
        (rate_of_run("k6_published_total", "by"), "by {{by}}"),
        (f"max(rate({metric('fantail_events_received_total')}[{RATE}]))", "read by a node"),
    )
    board.graph(
        "Publisher's lateness p95",
        "s",
        "How much later than due k6 published, and how long an append took. It is part of k6's lag.",
        (of_run("k6_publish_late_p95", "max"), "late"),
        (of_run("k6_publish_duration_p95", "max"), "append"),
    )
    return board
