// EventSource as the WHATWG describes it, without a server: tests open, dispatch and break it.
export class FakeEventSource extends EventTarget {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static readonly CLOSED = 2;
  static all: FakeEventSource[] = [];

  readyState = FakeEventSource.CONNECTING;
  onopen: ((event: Event) => void) | null = null;
  onerror: ((event: Event) => void) | null = null;
  readonly withCredentials: boolean;

  constructor(
    readonly url: string,
    init: EventSourceInit = {},
  ) {
    super();
    this.withCredentials = init.withCredentials ?? false;
    FakeEventSource.all.push(this);
  }

  /** Those that hold a connection. */
  static get live(): FakeEventSource[] {
    return FakeEventSource.all.filter((source) => source.readyState !== FakeEventSource.CLOSED);
  }

  static install(): void {
    FakeEventSource.all = [];
    Object.assign(globalThis, { EventSource: FakeEventSource });
  }

  open(): void {
    this.readyState = FakeEventSource.OPEN;
    this.onopen?.(new Event("open"));
  }

  /** As when the connection breaks, or for good: a refusal, or 204. */
  fail(forGood: boolean): void {
    this.readyState = forGood ? FakeEventSource.CLOSED : FakeEventSource.CONNECTING;
    this.onerror?.(new Event("error"));
  }

  /** A closed EventSource dispatches nothing. */
  say(type: string, data: string, lastEventId = ""): void {
    if (this.readyState !== FakeEventSource.OPEN) return;
    this.dispatchEvent(new MessageEvent(type, { data, lastEventId }));
  }

  close(): void {
    this.readyState = FakeEventSource.CLOSED;
  }
}

export const gap = { channel: "a", reason: "trimmed", resume_from: "1-0", continues_at: "5-0", lost: 4 };
