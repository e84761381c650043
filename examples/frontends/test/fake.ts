import type { Options } from "fantail-events";

// EventStream as pages see it, without a server: tests open, dispatch and break it. Its own tests are in clients/js.
export class FakeEventStream extends EventTarget {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static readonly CLOSED = 2;
  static all: FakeEventStream[] = [];

  readyState = FakeEventStream.CONNECTING;
  onopen: ((event: Event) => void) | null = null;
  onerror: ((event: Event) => void) | null = null;
  channels?: string | readonly string[];

  constructor(
    readonly url: string,
    readonly options: Options = {},
  ) {
    super();
    this.channels = options.channels;
    FakeEventStream.all.push(this);
  }

  get withCredentials(): boolean {
    return this.options.withCredentials ?? false;
  }

  /** Those that hold a connection. */
  static get live(): FakeEventStream[] {
    return FakeEventStream.all.filter((source) => source.readyState !== FakeEventStream.CLOSED);
  }

  static install(): void {
    FakeEventStream.all = [];
  }

  open(): void {
    this.readyState = FakeEventStream.OPEN;
    this.onopen?.(new Event("open"));
  }

  /** As when the connection breaks, or for good: a refusal, or 204. */
  fail(status?: number): void {
    this.readyState = status ? FakeEventStream.CLOSED : FakeEventStream.CONNECTING;
    this.onerror?.(Object.assign(new Event("error"), { status, code: "code" }));
  }

  /** A closed stream dispatches nothing. */
  say(type: string, data: string, lastEventId = ""): void {
    if (this.readyState !== FakeEventStream.OPEN) return;
    this.dispatchEvent(new MessageEvent(type, { data, lastEventId }));
  }

  close(): void {
    this.readyState = FakeEventStream.CLOSED;
  }
}

export const gap = { channel: "a", reason: "trimmed", resume_from: "1-0", continues_at: "5-0", lost: 4 };
