// The EventSource of k6 on a string: k6.py says what to do, and hears what the streams bring.
import http from 'k6/http';
import { EventSource } from 'k6/x/eventsource';

const service = __ENV.SERVICE;

// One virtual user, as long as the service wants it.
export const options = {
  scenarios: { contract: { executor: 'shared-iterations', vus: 1, iterations: 1, maxDuration: '2h', gracefulStop: '0s' } },
};

const streams = {};
let said = [];
let saying = false;

// Messages go one after another, so that they come in order; those that came meanwhile go together.
async function say(message) {
  said.push(message);
  if (saying) return;
  saying = true;
  while (said.length > 0) {
    const messages = said;
    said = [];
    await http.asyncRequest('POST', service, JSON.stringify(messages));
  }
  saying = false;
}

function event(stream) {
  return (e) => say({ stream, event: { type: e.type, data: e.data, id: e.lastEventId } });
}

function open(stream, order) {
  const source = new EventSource(order.streamUrl, {
    headers: order.headers,
    lastEventId: order.lastEventId,
    retry: order.initialDelayMs,
  });
  source.onmessage = event(stream);
  source.onerror = (e) => say({ stream, error: `${source.readyState === EventSource.CLOSED ? 'closed' : 'lost'}: ${e.message}` });
  streams[stream] = source;
}

async function carryOut(order) {
  const source = streams[order.stream];
  switch (order.do) {
    case 'open':
      open(order.stream, order.order);
      break;
    case 'listen':
      if (order.type !== 'message') source.addEventListener(order.type, event(order.stream));
      break;
    case 'cut':
      source.cut();
      break;
    case 'close':
      source.close();
      await source.closed();
      delete streams[order.stream];
      break;
    default:
      throw new Error(`no order: ${order.do}`);
  }
  say({ done: order.number });
}

export default async function () {
  for (;;) {
    const answer = await http.asyncRequest('GET', service);
    for (const order of answer.json()) {
      if (order.do === 'end') return;
      await carryOut(order);
    }
  }
}
