"""How a dashboard is laid out, and the selectors and rates that its queries are made of."""

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


def median_and_p99(histogram):
    """Both as lines of a graph."""
    return (quantile(0.5, histogram), "p50"), (quantile(0.99, histogram), "p99")


class Board:
    """One dashboard: rows of panels, 24 columns wide."""

    def __init__(self, name, title, description, more=()):
        """`more` are variables besides those of nodes: name, label, and the metric whose label they are."""
        self.name = name
        self.more = more
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
        for name, label, origin in self.more:
            variables.append(
                {**variables[-1], "name": name, "label": label, "query": f"label_values({origin}, {name})"}
            )
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
