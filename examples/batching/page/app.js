const node = `http://${location.hostname}:8080`;
const MOST = 20_000; // measurements in the chart: ten seconds
const canvas = document.querySelector("canvas");
let values = [];
const seen = { events: 0, measurements: 0, first: null, missing: 0 };

function draw() {
  canvas.width = canvas.clientWidth;
  canvas.height = canvas.clientHeight;
  const pen = canvas.getContext("2d");
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  pen.strokeStyle = "#06c";
  values.forEach((value, i) => {
    pen.lineTo((i / MOST) * canvas.width, canvas.height * (0.95 - (0.9 * (value - low)) / (high - low || 1)));
  });
  pen.stroke();
  document.getElementById("events").textContent = seen.events;
  document.getElementById("measurements").textContent = seen.measurements;
}

// One event, one array of [number, value]. The numbers have no holes as long as nothing is lost.
const events = new EventSource(`${node}/events/sensor`);
events.onmessage = (event) => {
  const batch = JSON.parse(event.data);
  seen.first ??= batch[0][0];
  seen.events += 1;
  seen.measurements += batch.length;
  seen.missing = batch.at(-1)[0] - seen.first + 1 - seen.measurements;
  document.body.dataset.missing = seen.missing;
  values = [...values, ...batch.map(([, value]) => value)].slice(-MOST);
  requestAnimationFrame(draw);
};
