"""What clients notice: overview, delivery, resume."""

from board import CLUSTER, RATE, Board, median_and_p99, metric, quantile, rate


def overview():
    board = Board("overview", "Overview", "Whether the cluster delivers, how fast, and whom it refuses.")
    board.number(
        "Subscribers",
        "short",
        "Subscribers connected now, on all chosen nodes.",
        f"sum({metric('fantail_connections')})",
    )
    board.number(
        "Nodes",
        "short",
        "Nodes that answer the scrape.",
        f"sum({metric('up', scope=CLUSTER)})",
        [(None, "red"), (1, "green")],
    )
    board.number(
        "Deliveries",
        "ops",
        "Events written to sockets, per second.",
        f"sum(rate({metric('fantail_events_delivered_total')}[{RATE}]))",
    )
    board.number(
        "Delivery lag p99",
        "s",
        "99 % of deliveries were quicker, from the entry's time by the Redis clock to the write on the socket.",
        quantile(0.99, "fantail_delivery_lag_seconds"),
        [(None, "green"), (0.5, "orange"), (1, "red")],
    )
    board.number(
        "Redis",
        "percentunit",
        "Share of nodes that can read Redis.",
        f"avg({metric('fantail_backplane_up')})",
        [(None, "red"), (1, "green")],
    )
    board.number(
        "Gaps",
        "short",
        "Gaps announced to subscribers in the last hour: events that could not be delivered any more.",
        f"sum(increase({metric('fantail_gaps_total')}[1h]))",
        [(None, "green"), (1, "red")],
    )
    board.graph(
        "Subscribers by node",
        "short",
        "Stacked: how the cluster's subscribers are spread.",
        (metric("fantail_connections"), "{{instance}}"),
        stack=True,
    )
    board.graph(
        "Arrivals and departures",
        "ops",
        "Subscribers that came, and that went by reason, per second. Drains and ages look like steps; a spike is a storm.",
        (rate("fantail_connections_opened_total", by=""), "came"),
        (rate("fantail_connections_closed_total", by="reason"), "went: {{reason}}"),
    )
    board.graph(
        "Deliveries by node",
        "ops",
        "Events written to sockets, per second.",
        (rate("fantail_events_delivered_total"), "{{instance}}"),
        stack=True,
    )
    board.graph(
        "Delivery lag",
        "s",
        "From the entry's time by the Redis clock to the write on the socket.",
        *median_and_p99("fantail_delivery_lag_seconds"),
        ("max(job:fantail_delivery_lag_seconds:p99_5m{" + CLUSTER + "})", "p99 over 5 minutes, of the whole job"),
    )
    board.graph(
        "Refusals by reason",
        "ops",
        "Requests that were refused, per second: limits, rights, mistakes of clients.",
        (
            rate("fantail_connections_refused_total", by="reason")
            + " > 0 or sum("
            + metric("fantail_connections_refused_total")
            + ") * 0",
            "{{reason}}",
        ),
        (rate("fantail_admin_refused_total", by="reason") + " > 0", "operators: {{reason}}"),
    )
    board.graph(
        "Redis reachable",
        "bool_on_off",
        "1: the node reads Redis. At 0 subscribers stay and new ones are held.",
        (metric("fantail_backplane_up"), "{{instance}}"),
        most=1,
    )
    return board


def delivery():
    board = Board("delivery", "Delivery", "From Redis to the sockets: rates, lag, and those who cannot keep up.")
    board.graph(
        "Events in and out",
        "ops",
        "Events read from Redis, and events written to sockets, per second.",
        (rate("fantail_events_received_total", by=""), "read"),
        (rate("fantail_events_delivered_total", by=""), "delivered"),
    )
    board.graph(
        "Fan-out",
        "short",
        "Deliveries for each event that a node read: how many subscribers an event has there.",
        (f"{rate('fantail_events_delivered_total')} / ({rate('fantail_events_received_total')} > 0)", "{{instance}}"),
    )
    board.graph(
        "Bytes to sockets",
        "Bps",
        "Bytes that sockets took, per second.",
        (rate("fantail_delivered_bytes_total"), "{{instance}}"),
        stack=True,
    )
    board.graph(
        "Bytes per delivery",
        "bytes",
        "Mean size on the wire, heartbeats included.",
        (f"{rate('fantail_delivered_bytes_total')} / ({rate('fantail_events_delivered_total')} > 0)", "{{instance}}"),
    )
    board.graph(
        "Compression",
        "percentunit",
        "Bytes of compressed streams after compression, as a share of before.",
        (
            f"{rate('fantail_compressed_bytes_total')} / ({rate('fantail_compressed_plain_bytes_total')} > 0)",
            "{{instance}}",
        ),
    )
    board.heatmap(
        "Delivery lag",
        "s",
        "How many deliveries had which lag, from the entry's time by the Redis clock to the write on the socket.",
        f"sum by (le) (rate({metric('fantail_delivery_lag_seconds_bucket')}[{RATE}]))",
    )
    board.graph(
        "Follower lag",
        "s",
        "From the entry's time to the node's read of it: Redis and the network, without the sockets.",
        *median_and_p99("fantail_follower_lag_seconds"),
    )
    board.graph(
        "Subscribers behind",
        "short",
        "Events that subscribers are behind, sampled: 0 is everything written to the socket.",
        *median_and_p99("fantail_subscriber_lag_events"),
        (quantile(0.999, "fantail_subscriber_lag_events"), "p99.9"),
    )
    board.graph(
        "Ended by reason",
        "ops",
        "Subscribers that the nodes ended or that left, per second. stalled, slowest: evicted, its socket took nothing.",
        (rate("fantail_connections_closed_total", by="reason"), "{{reason}}"),
    )
    board.graph(
        "Pages of history for those behind",
        "ops",
        "Subscribers that are further behind than the tail in memory are served from Redis, page by page.",
        (rate("fantail_catch_ups_total"), "{{instance}}"),
    )
    board.graph(
        "History replayed",
        "short",
        "Entries read per second for those behind, and how often a page waited at --replay-rate or --replay-bytes.",
        (rate("fantail_replay_entries_total"), "{{instance}}: entries"),
        (rate("fantail_replay_waits_total", by="limit"), "waits for {{limit}}"),
    )
    board.graph(
        "Waiting for Redis",
        "short",
        "Subscribers behind the tail that wait for a page of history, and joins that wait for a channel's position.",
        (metric("fantail_catch_ups_waiting"), "{{instance}}: pages"),
        (metric("fantail_joins_waiting"), "{{instance}}: joins"),
    )
    board.graph(
        "Memory of tails",
        "bytes",
        "The newest frames, kept for those who are behind or come back, and pages of past events (/history) that are written.",
        (metric("fantail_tail_bytes"), "{{instance}}"),
        (metric("fantail_history_bytes"), "{{instance}}: pages of past events"),
        stack=True,
    )
    board.graph(
        "Memory of slow subscribers",
        "bytes",
        "History on its way to them, --replay-bytes at most, and what full sockets left over, --leftover-bytes at most.",
        (metric("fantail_replay_bytes"), "{{instance}}: history"),
        (metric("fantail_leftover_bytes"), "{{instance}}: left over"),
        stack=True,
    )
    board.graph(
        "Channels and legs",
        "short",
        "Channels that have a subscriber on the node, and legs: one for each channel of each subscriber.",
        (metric("fantail_channels"), "{{instance}}: channels"),
        (metric("fantail_subscriptions"), "{{instance}}: legs"),
    )
    board.graph(
        "Publishing over HTTP",
        "ops",
        "Requests to publish, by outcome: ok, or the error's code. Not what producers append to Redis themselves.",
        (rate("fantail_publish_requests_total", by="outcome"), "{{outcome}}"),
    )
    board.graph(
        "Types that are not a producer's",
        "ops",
        "Events whose type began with fantail. and got a _ in front, per second: a producer that plays the cluster's part.",
        (rate("fantail_types_renamed_total"), "{{instance}}"),
    )
    board.graph(
        "Events that are not UTF-8",
        "ops",
        "Events read that were not UTF-8, per second: a producer that appends bytes. They are delivered with U+FFFD in place of what is none.",
        (rate("fantail_invalid_utf8_total"), "{{instance}}"),
    )
    board.graph(
        "Events whose ids are no time",
        "ops",
        "Events read whose ids are a producer's own, such as 0-7, per second: how late they are is not known, so they are left out of lags.",
        (rate("fantail_untimed_events_total"), "{{instance}}"),
    )
    return board


def resume():
    board = Board("resume", "Resume", "How those who come back go on, and what could not be resumed.")
    exact = metric("fantail_resumes_total", 'outcome=~"tail|history"')
    all_resumes = metric("fantail_resumes_total", 'outcome!="live"')
    board.number(
        "Resumed exactly",
        "percentunit",
        "Share of resumes in the last hour that went on without a gap or reset.",
        f"sum(increase({exact}[1h])) / (sum(increase({all_resumes}[1h])) > 0)",
        [(None, "red"), (0.999, "green")],
        width=6,
    )
    board.number(
        "Short histories",
        "short",
        "Channels (sampled) whose stream reaches less far back than a reconnect during a drain may need.",
        f"max({metric('fantail_history_short_channels')})",
        [(None, "green"), (1, "red")],
        width=6,
    )
    board.number(
        "Shortest history",
        "s",
        "How far back the shortest history of a followed stream reaches; infinite where nothing was trimmed.",
        f"min({metric('fantail_history_seconds')})",
        width=6,
    )
    board.number(
        "Fewest entries",
        "short",
        "Entries of the shortest history of a followed stream; infinite where nothing was trimmed.",
        f"min({metric('fantail_history_entries')})",
        width=6,
    )
    board.graph(
        "How subscriptions began",
        "ops",
        "live: at the end. tail: from memory. history: from Redis. gap, reset: what was missed is gone, and announced.",
        (rate("fantail_resumes_total", by="outcome"), "{{outcome}}"),
        stack=True,
    )
    board.graph(
        "Gaps announced",
        "ops",
        "trimmed: history was too short. deleted: entries were taken out by XDEL. missing: the stream was deleted, or lost in a failover. reset: the stream's ids went back. too_large: an entry is larger than --max-entry-bytes.",
        (rate("fantail_gaps_total", by="reason"), "{{reason}}"),
    )
    board.graph(
        "Storms",
        "ops",
        "Subscribers that came, per second and node. After a node's death the others see its subscribers here.",
        (rate("fantail_connections_opened_total"), "{{instance}}"),
    )
    board.graph(
        "Connections that are no subscribers",
        "short",
        "Waiting at the acceptor for a request, in their handshake, or kept alive; and, per second, requests that were "
        "slow, subscriptions that were told to come back, and bodies that were refused before their end. They grow in a storm, and with slow or hostile clients.",
        (metric("fantail_connections_waiting"), "{{instance}}"),
        (rate("fantail_slow_requests_total"), "{{instance}} slow"),
        (rate("fantail_turned_away_total", by="instance, end"), "{{instance}} told to come back: {{end}}"),
        (rate("fantail_unread_bodies_total", by="instance, end"), "{{instance}} unread body: {{end}}"),
    )
    return board
