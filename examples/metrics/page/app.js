const node = `http://${location.hostname}:8080`;
const MOST = 120; // points of a chart
const charts = new Map();

function chart({ channel, title }) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const value = document.createElement("b");
  const canvas = document.createElement("canvas");
  caption.append(title, value);
  figure.append(caption, canvas);
  document.querySelector("main").append(figure);
  charts.set(channel, { canvas, value });
  canvas.points = [];
}

function draw({ canvas, value }) {
  const { points } = canvas;
  value.textContent = points.at(-1).toLocaleString("en");
  canvas.width = canvas.clientWidth * devicePixelRatio;
  canvas.height = canvas.clientHeight * devicePixelRatio;
  const pen = canvas.getContext("2d");
  const top = Math.max(...points, Number.MIN_VALUE);
  pen.strokeStyle = "#06c";
  pen.lineWidth = 2 * devicePixelRatio;
  points.forEach((point, i) => {
    const x = ((MOST - points.length + i + 1) / MOST) * canvas.width;
    pen.lineTo(x, canvas.height * (0.95 - 0.9 * (point / top)));
  });
  pen.stroke();
}

const changed = new Set();
function drawChanged() {
  changed.forEach(draw);
  changed.clear();
}

const figures = await (await fetch("/channels")).json();
figures.forEach(chart);

// All channels on one connection; `envelope=1` says which channel an event is of. The id that EventSource comes back
// with holds a position for each of them.
const channels = figures.map((figure) => figure.channel).join(",");
const events = new EventSource(`${node}/events?channels=${channels}&tail=${MOST}&envelope=1`);
events.onmessage = (event) => {
  const { channel, data } = JSON.parse(event.data);
  const chart = charts.get(channel);
  chart.canvas.points.push(Number(data));
  chart.canvas.points.splice(0, chart.canvas.points.length - MOST);
  if (changed.size === 0) requestAnimationFrame(drawChanged);
  changed.add(chart);
};
