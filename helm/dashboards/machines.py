"""What operators keep running: Redis, nodes, rollouts, access."""

from board import CLUSTER, RATE, Board, median_and_p99, metric, quantile, rate


def redis():
    board = Board(
        "redis", "Redis", "What the nodes ask of Redis, how quick it answers, and how far its history reaches."
    )
    board.graph(
        "Reachable", "bool_on_off", "1: the node reads Redis.", (metric("fantail_backplane_up"), "{{instance}}"), most=1
    )
    board.graph(
        "Shards down",
        "short",
        "Primaries of a Cluster that cannot be read; /status of the node names them.",
        (metric("fantail_backplane_shards_down"), "{{instance}}"),
    )
    board.graph(
        "Commands",
        "ops",
        "Commands per second by kind, of all chosen nodes; a batch counts once.",
        (rate("fantail_backplane_command_seconds_count", by="command"), "{{command}}"),
    )
    board.graph(
        "Command time p99",
        "s",
        "99 % of commands were quicker, by kind.",
        (quantile(0.99, "fantail_backplane_command_seconds", by="command"), "{{command}}"),
    )
    board.graph(
        "Mean command time",
        "s",
        "By kind. canary: the probe, which twice a second reads one key of two and writes the other, and so finds dead and frozen servers.",
        (
            f"{rate('fantail_backplane_command_seconds_sum', by='command')} / ({rate('fantail_backplane_command_seconds_count', by='command')} > 0)",
            "{{command}}",
        ),
    )
    board.graph(
        "Failed commands",
        "ops",
        "Commands that failed, per second.",
        (rate("fantail_backplane_errors_total"), "{{instance}}"),
    )
    board.graph(
        "Refused commands",
        "ops",
        "Commands that Redis refused, per second, by its code: MISCONF is a full disk, OOM no memory, NOREPLICAS and READONLY are about replicas, NOPERM is about rights.",
        (f"sum by (code) (rate({metric('fantail_backplane_refused_total')}[$__rate_interval])) > 0", "{{code}}"),
    )
    board.graph(
        "Reconnects",
        "short",
        "Connections to Redis after the first, in the last 5 minutes.",
        (f"sum by (instance) (increase({metric('fantail_backplane_reconnects_total')}[5m]))", "{{instance}}"),
    )
    board.graph(
        "Follower without an answer",
        "s",
        "Time for which the node has had something to read and got no answer. Seconds here are a stall.",
        (metric("fantail_follower_stalled_seconds"), "{{instance}}"),
    )
    board.graph(
        "Hot streams",
        "short",
        "Busy streams whose next entry the node waits for at Redis; four at most.",
        (metric("fantail_hot_streams"), "{{instance}}"),
    )
    board.graph(
        "Lag of replicas",
        "s",
        "With read=replica: how far the replica that a node reads lags, at most.",
        (metric("fantail_redis_replica_lag_seconds"), "{{instance}}"),
    )
    board.graph(
        "Servers read from a primary",
        "short",
        "With read=replica: servers of which no replica would do, so that a node reads the primary.",
        (metric("fantail_redis_read_from", 'role="primary"'), "{{instance}}"),
    )
    board.graph(
        "Relayed streams",
        "short",
        "Busy streams that another node reads for this one (--relay-from).",
        (metric("fantail_relayed_streams"), "{{instance}}"),
    )
    board.graph(
        "Messages of relays",
        "ops",
        "Events that another node has passed on, messages that brought nothing new, and reads as one did not follow what is known.",
        (rate("fantail_relayed_events_total", by=""), "events"),
        (rate("fantail_relayed_passed_over_total", by=""), "passed over"),
        (rate("fantail_relayed_reads_total", by=""), "reads"),
    )
    board.graph(
        "Pauses of the follower",
        "ops",
        "Pauses a second (--coalesce), by which many small reads become few. A thousand is the most at 1ms.",
        (rate("fantail_follower_pauses_total"), "{{instance}}"),
    )
    board.graph(
        "Follower lag p99",
        "s",
        "From an entry's time by the Redis clock to the node's read of it.",
        (quantile(0.99, "fantail_follower_lag_seconds", by="instance"), "{{instance}}"),
    )
    board.graph(
        "Depth of history",
        "s",
        "How far back the shortest history of a followed stream reaches, sampled.",
        (
            metric("fantail_history_seconds") + " < +Inf or " + metric("fantail_history_seconds") + " * 0",
            "{{instance}}",
        ),
    )
    return board


def node():
    board = Board("node", "Node", "What a node costs: CPU, memory, threads, file descriptors.")
    board.graph("CPU", "short", "Cores that the process uses.", (rate("process_cpu_seconds_total"), "{{instance}}"))
    board.graph(
        "CPU per delivery",
        "s",
        "CPU time for each event written to a socket, everything else of the process included.",
        (f"{rate('process_cpu_seconds_total')} / ({rate('fantail_events_delivered_total')} > 0)", "{{instance}}"),
    )
    board.graph(
        "Couriers' busy share",
        "percentunit",
        "Share of time in which a delivery thread did not wait. Near 1 it delivers as fast as it can, and lag grows.",
        (
            f"sum by (instance, courier) (rate({metric('fantail_courier_busy_seconds_total')}[{RATE}]))",
            "{{instance}}: {{courier}}",
        ),
        most=1,
    )
    board.graph(
        "Couriers' turns",
        "s",
        "How long delivery threads work before they look at joins and hang-ups again: 5 ms at most where cores are free.",
        *median_and_p99("fantail_courier_turn_seconds"),
    )
    board.graph(
        "Memory",
        "bytes",
        "Resident memory of the process; the kernel's socket buffers are not in it.",
        (metric("process_resident_memory_bytes"), "{{instance}}"),
    )
    board.graph(
        "Memory per subscriber",
        "bytes",
        "Resident memory without the tails, by subscriber. It means something from some thousands on.",
        (
            f"({metric('process_resident_memory_bytes')} - {metric('fantail_tail_bytes')}) / ({metric('fantail_connections')} > 0)",
            "{{instance}}",
        ),
    )
    board.graph(
        "File descriptors",
        "short",
        "Open ones, and the limit.",
        (metric("process_open_fds"), "{{instance}}: open"),
        (metric("process_max_fds"), "{{instance}}: limit"),
    )
    board.graph(
        "Room for subscribers",
        "percentunit",
        "Subscribers as a share of the node's limit (its setting, or what the file limit allows).",
        (f"{metric('fantail_connections')} / {metric('fantail_connection_limit')}", "{{instance}}"),
        most=1,
    )
    board.graph("Threads", "short", "Threads of the process.", (metric("process_threads"), "{{instance}}"))
    board.graph(
        "Virtual memory",
        "bytes",
        "Address space of the process.",
        (metric("process_virtual_memory_bytes"), "{{instance}}"),
    )
    board.graph(
        "Spans",
        "ops",
        "Spans of traces: exported, dropped since too many waited, failed at the collector.",
        (rate("fantail_trace_spans_total", by="outcome"), "{{outcome}}"),
    )
    board.graph(
        "Uptime",
        "s",
        "Time since the process started.",
        (f"time() - {metric('process_start_time_seconds')}", "{{instance}}"),
    )
    return board


def rollouts():
    board = Board("rollouts", "Rollouts", "How nodes come and go: versions, drains, and where the subscribers went.")
    board.graph(
        "Nodes by version",
        "short",
        "A rollout is where two versions overlap.",
        (f"count by (version) ({metric('fantail_build_info')})", "{{version}}"),
        stack=True,
    )
    board.graph(
        "Drain curve",
        "short",
        "Subscribers of each node. A drain is a straight ramp to 0 that ends with the window; a cliff means that the grace period is too short.",
        (metric("fantail_connections"), "{{instance}}"),
    )
    board.graph(
        "Draining nodes",
        "short",
        "Nodes within their drain.",
        (
            f"count({metric('fantail_drain_end_timestamp_seconds')} > 0) or sum({metric('up', scope=CLUSTER)}) * 0",
            "draining",
        ),
    )
    board.graph(
        "Left of the drain's window",
        "s",
        "Time until the window ends, of nodes that drain; 0 for others.",
        (
            f"clamp_min({metric('fantail_drain_end_timestamp_seconds')} - time(), 0)",
            "{{instance}}",
        ),
    )
    board.graph(
        "Ended by drains and ages",
        "ops",
        "Subscribers ended by a drain, and by the maximum age that spreads load after a scale-up.",
        (rate("fantail_connections_closed_total", 'reason=~"drain|max_age"', by="reason"), "{{reason}}"),
    )
    board.graph(
        "Spread",
        "short",
        "Most and fewest subscribers of a node against the mean. 1 is even.",
        (f"max({metric('fantail_connections')}) / (avg({metric('fantail_connections')}) > 0)", "most"),
        (f"min({metric('fantail_connections')}) / (avg({metric('fantail_connections')}) > 0)", "fewest"),
    )
    board.graph(
        "Subscribers of the whole job",
        "short",
        "Flat through a rollout: who is ended comes back elsewhere at once.",
        ("sum(job:fantail_connections:sum{" + CLUSTER + "})", "subscribers"),
    )
    board.graph(
        "Resumes",
        "ops",
        "How those who came back went on; gap and reset should stay at 0.",
        (rate("fantail_resumes_total", by="outcome"), "{{outcome}}"),
        stack=True,
    )
    return board


def access():
    board = Board("access", "Access", "Who may come in: tokens, the application's word, TLS and HTTP/2.")
    board.graph(
        "Decisions",
        "ops",
        "Requests that authorization decided on, per second: granted, anonymous, or the refusal's code.",
        (rate("fantail_auth_total", by="outcome"), "{{outcome}}"),
        stack=True,
    )
    board.graph(
        "Keys",
        "short",
        "Keys that tokens are verified with. At 0 no token is taken.",
        (metric("fantail_auth_keys"), "{{instance}}"),
        (metric("fantail_auth_keys_skipped"), "{{instance}}, cannot be used"),
    )
    board.graph(
        "Reads of keys",
        "short",
        "Reads of key files or of the key server in the last hour that brought something new, or failed.",
        (f"sum by (outcome) (increase({metric('fantail_auth_key_reads_total')}[1h]))", "{{outcome}}"),
    )
    board.graph(
        "Questions to the application",
        "ops",
        "By outcome. remembered: answered from memory. crowded, paused: not asked, since it is slow or fails.",
        (rate("fantail_auth_forward_total", by="outcome"), "{{outcome}}"),
    )
    board.graph(
        "The application's time",
        "s",
        "How long it takes to decide.",
        *median_and_p99("fantail_auth_forward_seconds"),
    )
    board.graph(
        "Application left alone",
        "bool_on_off",
        "1: it fails, so the node does not ask it for a while.",
        (metric("fantail_auth_forward_paused"), "{{instance}}"),
        most=1,
    )
    board.graph(
        "Revocations",
        "ops",
        "Entries of the control stream, by what they disconnect or change.",
        (rate("fantail_revocations_total", by="target"), "{{target}}"),
        (rate("fantail_control_rereads_total"), "read again"),
    )
    board.graph(
        "Channels joined and left",
        "ops",
        "Channels that open streams were told to join or leave, by what became of it.",
        (rate("fantail_set_changes_total", by="outcome"), "{{outcome}}"),
    )
    board.graph(
        "Extended",
        "ops",
        "Subscribers whose grant a renewal of their subject extended.",
        (rate("fantail_connections_extended_total", by="instance"), "{{instance}}"),
    )
    board.graph(
        "Kept out",
        "short",
        "Subjects and tokens that are kept out after a revocation.",
        (metric("fantail_auth_barred"), "{{instance}}"),
    )
    board.graph(
        "TLS handshakes",
        "ops",
        "full, resumed, failed, slow, or plain HTTP on a TLS port. After a storm most should be resumed.",
        (rate("fantail_tls_handshakes_total", by="outcome"), "{{outcome}}"),
    )
    board.graph(
        "Certificate's time left",
        "s",
        "Until the certificate ends that is shown to clients; 0 without TLS.",
        (f"clamp_min({metric('fantail_tls_certificate_expires_seconds')} - time(), 0)", "{{instance}}"),
    )
    board.graph(
        "Changes of the certificate and of ticket keys",
        "short",
        "In the last hour. failed: the new files could not be used, and the old certificate or keys stay.",
        (f"sum by (outcome) (increase({metric('fantail_tls_reloads_total')}[1h]))", "{{outcome}}"),
        (f"sum by (outcome) (increase({metric('fantail_tls_ticket_reloads_total')}[1h]))", "{{outcome}}: ticket keys"),
    )
    board.graph(
        "HTTP/2",
        "short",
        "Connections, and subscribers that are streams of them.",
        (metric("fantail_http2_connections"), "{{instance}}: connections"),
        (metric("fantail_http2_streams"), "{{instance}}: streams"),
    )
    board.graph(
        "Subscribers under TLS with HTTP/1.1",
        "short",
        "Whose records the delivery threads make, and those with a session of the TLS library: TLS 1.2, or all with --tls-records rustls.",
        (metric("fantail_tls_subscribers"), "{{instance}}: records"),
        (metric("fantail_tls_session_subscribers"), "{{instance}}: session"),
    )
    return board
