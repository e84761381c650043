#!/usr/bin/env python3
"""Writes the dashboards beside this file. `generate.py --check` says whether they are what it would write.

Each dashboard is a function that names its panels; `Board` lays them out. Nothing but Python's own library.
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
NODES = 'namespace=~"$namespace",job=~"$job",instance=~"$instance"'
CLUSTER = 'namespace=~"$namespace",job=~"$job"'
RATE = "$__rate_interval"


def metric(name, labels="", scope=NODES):
    """A selector of this dashboard's nodes."""
    return f"{name}{{{scope}{',' + labels if labels else ''}}}"


def rate(name, labels="", by="instance"):
    """Per second, of each node or of all together."""
    grouping = f"sum by ({by})" if by else "sum"
    return f"{grouping} (rate({metric(name, labels)}[{RATE}]))"


def quantile(q, histogram, by=""):
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, sum by ({labels}) (rate({metric(histogram + '_bucket')}[{RATE}])))"


class Board:
    """One dashboard: rows of panels, 24 columns wide."""

    def __init__(self, name, title, description):
        self.name = name
        self.panels = []
        self.x = self.y = self.line = 0
        self.head = {"title": f"Fantail / {title}", "description": description, "uid": f"fantail-{name}"}

    def row(self, title):
        self.break_line()
        self.panels.append(
            {
                "type": "row",
                "title": title,
                "id": len(self.panels) + 1,
                "collapsed": False,
                "gridPos": {"x": 0, "y": self.y, "w": 24, "h": 1},
                "panels": [],
            }
        )
        self.y += 1

    def break_line(self):
        self.y += self.line
        self.x = self.line = 0

    def add(self, kind, title, description, targets, width=12, height=8, **more):
        if self.x + width > 24:
            self.break_line()
        panel = {
            "type": kind,
            "title": title,
            "description": description,
            "id": len(self.panels) + 1,
            "datasource": SOURCE,
            "gridPos": {"x": self.x, "y": self.y, "w": width, "h": height},
            "targets": [
                {
                    "refId": chr(ord("A") + at),
                    "datasource": SOURCE,
                    "editorMode": "code",
                    "expr": expr,
                    "legendFormat": legend,
                    "range": True,
                    "format": more.get("format", "time_series"),
                }
                for at, (expr, legend) in enumerate(targets)
            ],
        }
        self.x += width
        self.line = max(self.line, height)
        panel.update({key: value for key, value in more.items() if key != "format"})
        self.panels.append(panel)

    def graph(self, title, unit, description, *targets, stack=False, most=None, width=12):
        """Lines over time; `targets` are pairs of query and legend."""
        custom = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 30 if stack else 8,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"group": "A", "mode": "normal" if stack else "none"},
        }
        defaults = {"unit": unit, "min": 0, "custom": custom}
        if most is not None:
            defaults["max"] = most
        self.add(
            "timeseries",
            title,
            description,
            targets,
            width=width,
            fieldConfig={"defaults": defaults, "overrides": []},
            options={
                "legend": {
                    "displayMode": "table",
                    "placement": "bottom",
                    "showLegend": True,
                    "calcs": ["lastNotNull", "max"],
                },
                "tooltip": {"mode": "multi", "sort": "desc"},
            },
        )

    def number(self, title, unit, description, query, steps=((None, "green"),), width=4):
        """One figure, coloured by thresholds."""
        thresholds = {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]}
        self.add(
            "stat",
            title,
            description,
            [(query, "")],
            width=width,
            height=4,
            fieldConfig={"defaults": {"unit": unit, "thresholds": thresholds}, "overrides": []},
            options={
                "colorMode": "value",
                "graphMode": "area",
                "justifyMode": "auto",
                "textMode": "auto",
                "orientation": "auto",
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            },
        )

    def heatmap(self, title, unit, description, query, width=24):
        self.add(
            "heatmap",
            title,
            description,
            [(query, "{{le}}")],
            width=width,
            format="heatmap",
            fieldConfig={"defaults": {"custom": {"scaleDistribution": {"type": "linear"}}}, "overrides": []},
            options={
                "calculate": False,
                "cellGap": 1,
                "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5, "reverse": False},
                "legend": {"show": True},
                "tooltip": {"mode": "single", "yHistogram": False},
                "yAxis": {"unit": unit, "axisPlacement": "left"},
            },
        )

    def text(self):
        """The dashboard as Grafana takes it."""
        names = {"namespace": "Namespace", "job": "Job", "instance": "Node"}
        scope, variables = (
            "",
            [{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1}],
        )
        for name, label in names.items():
            query = (
                f"label_values(fantail_build_info{{{scope}}}, {name})"
                if scope
                else f"label_values(fantail_build_info, {name})"
            )
            variables.append(
                {
                    "name": name,
                    "label": label,
                    "type": "query",
                    "datasource": SOURCE,
                    "query": query,
                    "refresh": 2,
                    "sort": 1,
                    "includeAll": True,
                    "multi": True,
                    "allValue": ".*",
                    "current": {"text": "All", "value": "$__all"},
                }
            )
            scope += ("," if scope else "") + f'{name}=~"${name}"'
        return {
            **self.head,
            "tags": ["fantail"],
            "schemaVersion": 39,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser",
            "templating": {"list": variables},
            "annotations": {"list": [annotation(*each) for each in ANNOTATIONS]},
            "links": [
                {
                    "type": "dashboards",
                    "title": "Fantail",
                    "tags": ["fantail"],
                    "asDropdown": True,
                    "includeVars": True,
                    "keepTime": True,
                    "icon": "external link",
                    "targetBlank": False,
                    "tooltip": "",
                    "url": "",
                }
            ],
            "panels": self.panels,
        }


ANNOTATIONS = [
    ("Starts", "green", "time() - " + metric("process_start_time_seconds") + " < 60"),
    ("Drains", "orange", metric("fantail_drain_end_timestamp_seconds") + " > 0"),
    ("Redis lost", "red", metric("fantail_backplane_up") + " == 0"),
]


def annotation(name, color, query):
    """Marks the times at which the query has samples. With keys alone that Grafana's own models know."""
    return {
        "name": name,
        "enable": True,
        "hide": False,
        "iconColor": color,
        "datasource": SOURCE,
        "expr": query,
    }


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
        (quantile(0.5, "fantail_delivery_lag_seconds"), "p50"),
        (quantile(0.99, "fantail_delivery_lag_seconds"), "p99"),
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
        (quantile(0.5, "fantail_follower_lag_seconds"), "p50"),
        (quantile(0.99, "fantail_follower_lag_seconds"), "p99"),
    )
    board.graph(
        "Subscribers behind",
        "short",
        "Events that subscribers are behind, sampled: 0 is everything written to the socket.",
        (quantile(0.5, "fantail_subscriber_lag_events"), "p50"),
        (quantile(0.99, "fantail_subscriber_lag_events"), "p99"),
        (quantile(0.999, "fantail_subscriber_lag_events"), "p99.9"),
    )
    board.graph(
        "Ended by reason",
        "ops",
        "Subscribers that the nodes ended or that left, per second. stalled: evicted, its socket took nothing.",
        (rate("fantail_connections_closed_total", by="reason"), "{{reason}}"),
    )
    board.graph(
        "Pages of history for those behind",
        "ops",
        "Subscribers that are further behind than the tail in memory are served from Redis, page by page.",
        (rate("fantail_catch_ups_total"), "{{instance}}"),
    )
    board.graph(
        "Memory of tails",
        "bytes",
        "The newest frames, kept for those who are behind or come back.",
        (metric("fantail_tail_bytes"), "{{instance}}"),
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
        "trimmed: history was too short. missing: entries were deleted or lost in a failover. reset: the stream's ids went back.",
        (rate("fantail_gaps_total", by="reason"), "{{reason}}"),
    )
    board.graph(
        "Storms",
        "ops",
        "Subscribers that came, per second and node. After a node's death the others see its subscribers here.",
        (rate("fantail_connections_opened_total"), "{{instance}}"),
    )
    board.graph(
        "Connections without a request yet",
        "short",
        "Waiting in the lobby, or in their handshake. It grows in a storm, and with slow or hostile clients.",
        (metric("fantail_connections_waiting"), "{{instance}}"),
    )
    return board


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
        "By kind. canary: a write and a read each second, which finds dead and frozen servers.",
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
        (quantile(0.5, "fantail_auth_forward_seconds"), "p50"),
        (quantile(0.99, "fantail_auth_forward_seconds"), "p99"),
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
        "Entries of the control stream, by what they disconnect.",
        (rate("fantail_revocations_total", by="target"), "{{target}}"),
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
        "Changes of the certificate",
        "short",
        "In the last hour. failed: the new files could not be used, and the old certificate stays.",
        (f"sum by (outcome) (increase({metric('fantail_tls_reloads_total')}[1h]))", "{{outcome}}"),
    )
    board.graph(
        "HTTP/2",
        "short",
        "Connections, and subscribers that are streams of them.",
        (metric("fantail_http2_connections"), "{{instance}}: connections"),
        (metric("fantail_http2_streams"), "{{instance}}: streams"),
    )
    return board


BOARDS = [overview, delivery, resume, redis, node, rollouts, access]


def main():
    stale = []
    for make in BOARDS:
        board = make()
        path = HERE / f"{board.name}.json"
        text = json.dumps(board.text(), indent=2) + "\n"
        if "--check" not in sys.argv[1:]:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(path.name)
    if stale:
        sys.exit(f"not what generate.py writes: {', '.join(stale)}; run helm/dashboards/generate.py")


if __name__ == "__main__":
    main()
