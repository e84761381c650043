// Where each code block of README.md, docs/ and examples/ is run: [language, what it contains, where]. `where` is a
// test's file, or why nothing runs it. A block of a page that is not here fails `blocks.test.js`.
const SHELL = "tests/examples/shell.test.js";
const PAGES = "tests/examples/pages.test.js";
const SNIPPETS = "tests/examples/snippets.test.js";
const CHART = "tests/kubernetes/chart.py";
const example = (name) => `tests/examples/${name}.test.js`;

export const BLOCKS = {
  "README.md": [
    ["sh", "cargo run", SHELL],
    ["sh", "curl -N", SHELL],
    ["sh", "export PATH", SHELL],
    ["js", "fantail.gap", PAGES],
    ["js", "xAdd", SNIPPETS],
    ["python", "import redis", SNIPPETS],
    ["sh", "MAXLEN", SHELL],
    ["sh", "redis-server", SHELL],
    ["sh", "fantail tail orders", SHELL],
    ["sh", "kill -KILL", SHELL],
    ["sh", "fantail top", SHELL],
    ["sh", "helm install", CHART],
  ],
  "docs/ai.md": [
    ["python", "AsyncOpenAI", "tests/ai/blocks.py"],
    ["js", "new Anthropic()", "tests/ai/blocks.py"],
  ],
  "docs/authorization.md": [
    ["sh", "--auth jwt", SHELL],
    ["json", '"subscribe"', SHELL],
    ["js", "connectAgain", PAGES],
    ["js", 'fetch("/session"', "not run: tests/core/auth/renewals.rs asks so"],
    ["sh", "fantail token", "not run: tests/core/auth/tokens_to_try.rs runs the like"],
    ["js", "freshToken", PAGES],
    ["sh", "fantail revoke", SHELL],
    ["sh", "join room.7", SHELL],
    ["sh", "ACL SETUSER", SHELL],
  ],
  "docs/clients.md": [
    ["html", "sse-close", "not run: tests/clients/adapters/node/browser_page.mjs makes the like, for the case last_event"],
    ["sh", "redis-cli XADD", "not run: tests/clients/answers.py publishes the like"],
  ],
  "docs/concepts.md": [["js", "Object.entries(at)", "not run: tests/core/node/positions.rs asks with an id of this form"]],
  "docs/javascript.md": [
    ["js", 'new EventStream("https:', "clients/js/test/guide.test.js"],
    ["js", "for await", "clients/js/test/guide.test.js"],
  ],
  "docs/kubernetes.md": [
    ["sh", "helm install", CHART],
    ["yaml", "seriesQuery", CHART],
    ["yaml", "retry: {codes", CHART],
    ["sh", "kubectl apply -f k6/kubernetes/", CHART],
  ],
  "docs/operating.md": [
    ["sh", "somaxconn", SHELL],
    ["ini", "ExecStart", SHELL],
  ],
  "docs/producing.md": [
    ["sh", "XADD sse:orders MAXLEN", "tests/core/guides.rs"],
    ["python", "import redis", SNIPPETS],
    ["js", "xAdd", SNIPPETS],
    ["go", "XAdd", SNIPPETS],
    ["java", "xadd", SNIPPETS],
    ["rust", "xadd_maxlen", SNIPPETS],
    ["sh", "curl -d '{\"id\":1}' 'http", "tests/core/guides.rs"],
    ["sh", "level 7 team red", "tests/core/guides.rs"],
    ["sh", "field.level=7", "tests/core/guides.rs"],
    ["sh", "Idempotency-Key", "tests/core/guides.rs"],
    ["sh", "MINID", "tests/core/guides.rs"],
    ["sql", "outbox", SNIPPETS],
    ["python", "def move(", SNIPPETS],
    ["python", "def move_over_http", "not run: tests/core/redis_once.rs publishes such batches"],
    ["python", "transaction=True", SNIPPETS],
    ["sh", "final 1", "tests/core/guides.rs"],
  ],
  "docs/quickstart.md": [
    ["sh", "cargo run --release", SHELL],
    ["sh", "curl -N http", SHELL],
    ["sh", "curl -d", SHELL],
    ["sh", "tail=5", SHELL],
    ["html", "EventSource", PAGES],
    ["sh", "http.server", PAGES],
    ["sh", "--cors-origin", SHELL],
    ["sh", "export PATH", SHELL],
    ["sh", "redis-server", SHELL],
    ["sh", "fantail tail", SHELL],
    ["sh", "redis-cli XADD sse:orders", SHELL],
    ["sh", "while it was away", SHELL],
    ["sh", "jobs -p", SHELL],
    ["sh", "helm install", CHART],
  ],
  "docs/reference/history.md": [
    ["json", '"more"', PAGES],
    ["js", "/history/", PAGES],
  ],
  "docs/testing.md": [
    ["python", "fixture", example("testing")],
    ["python", "def test_", example("testing")],
    ["js", "beforeAll", example("testing")],
    ["java", "@BeforeAll", example("testing")],
  ],
  "docs/tls.md": [
    ["sh", "--listen 0.0.0.0:443", SHELL],
    ["sh", "openssl req", SHELL],
    ["sh", "fantail publish demo", SHELL],
    ["sh", "--tls-ticket-keys", "not run: tests/core/transport/tickets.rs starts nodes so"],
  ],
  "docs/tracing.md": [["sh", "--otlp-endpoint", SHELL]],
  "examples/README.md": [
    ["sh", "docker compose", "tests/docs/compose.py"],
    ["sh", "redis-server", SHELL],
  ],
  "examples/batching/README.md": [["sh", "cargo run", example("batching")]],
  "examples/chat/README.md": [["sh", "npm start", example("chat")]],
  "examples/frontends/README.md": [
    ["sh", "npm start", example("frontends")],
    ["sh", "redis-cli XADD", example("frontends")],
    ["sh", "npm test", example("frontends")],
  ],
  "examples/logs/README.md": [["sh", "go run", example("logs")]],
  "examples/metrics/README.md": [["sh", "go run", example("metrics")]],
  "examples/notifications/README.md": [
    ["sh", "flask run", example("notifications")],
    ["sh", "--auth jwt", SHELL],
    ["sh", "/notify", example("notifications")],
  ],
  "examples/progress/README.md": [["sh", "mvn", example("progress")]],
  "examples/tokens/README.md": [["sh", "uvicorn", example("tokens")]],
};
