/** Why a token is asked for: see `Options.token`. */
export type TokenReason = "first" | "expiring" | "expired" | "revoked" | "unauthorized";

/** What `fantail.gap` says: events cannot be delivered. Load the state afresh. */
export interface Gap {
  /** `null` where this client itself left out an event above `maxEventSize`. */
  channel: string | null;
  reason: "trimmed" | "deleted" | "missing" | "reset" | "too_large";
  resume_from: string | null;
  continues_at: string;
  lost: number | null;
}

export interface Options {
  /** Names of channels; without them they are in the URL. */
  channels?: string | readonly string[];
  /**
   * A token, or a function that gives one: it is called before the first stream, at `fantail.expiring`, after
   * `fantail.expired` and `fantail.revoked`, and after a 401. Who renews a cookie instead returns nothing. What throws is
   * asked again, ever slower.
   */
  token?: string | ((why: { reason: TokenReason }) => string | undefined | void | Promise<string | undefined | void>);
  /** Whether cookies go to another origin, as for EventSource. */
  withCredentials?: boolean;
  /** Events are gone that this page should have had: load the state afresh. Also the event `fantail.gap`. */
  onGap?(gap: Gap, event: MessageEvent<string>): void;
  /**
   * One stream for all tabs of the origin that ask for the same URL, channels and credentials with the same text here. It names who
   * is logged in, such as the user's id; `true` where everybody sees the same. Where a browser has no Web Locks (outside of
   * HTTPS), each tab has a stream of its own.
   */
  share?: string | true;
  /** Where to go on: the last id of an earlier stream. */
  lastEventId?: string;
  /** Closes the stream. */
  signal?: AbortSignal;
  /** What carries the stream; `fetch` unless said otherwise. What EventSource cannot do, `fetch` does in its place. */
  via?: "fetch" | "EventSource";
  /** Characters of an event's data at most, 16 Mi unless said otherwise; a larger one becomes a gap, `too_large`. */
  maxEventSize?: number;
  /** Events that may wait for a `for await` loop, 10,000 unless said otherwise; then it fails with a RangeError. */
  buffer?: number;
  /** In place of the page's `fetch`. */
  fetch?: typeof fetch;
}

/** The event `error`. Where `readyState` is `CLOSED` the stream does not come back: `status` 204 is its end, others say no. */
export interface StreamErrorEvent extends Event {
  /** Of an answer that was no stream. */
  status?: number;
  /** The problem's code, such as `forbidden`, and what it says. */
  code?: string;
  detail?: string;
  /** What broke it; the signal's reason where that closed it. */
  error?: unknown;
}

interface StreamEvents {
  open: Event;
  error: StreamErrorEvent;
}

/** An event stream of one node or cluster. */
export class EventStream extends EventTarget implements AsyncIterable<MessageEvent<string>> {
  static readonly CONNECTING: 0;
  static readonly OPEN: 1;
  static readonly CLOSED: 2;
  readonly CONNECTING: 0;
  readonly OPEN: 1;
  readonly CLOSED: 2;

  constructor(url: string | URL, options?: Options);

  readonly url: string;
  readonly withCredentials: boolean;
  readonly readyState: 0 | 1 | 2;
  /** Where this page is: give it back as `Options.lastEventId`. */
  readonly lastEventId: string;
  /** The names, sorted. When others are set, those that stay go on where they were, and new ones begin as the URL says. */
  get channels(): string[] | undefined;
  set channels(names: string | readonly string[]);

  onopen: ((event: Event) => void) | null;
  onmessage: ((event: MessageEvent<string>) => void) | null;
  onerror: ((event: StreamErrorEvent) => void) | null;

  addEventListener<K extends keyof StreamEvents>(
    type: K,
    listener: (event: StreamEvents[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  /** An event's type; `message` for those without one. */
  addEventListener(
    type: string,
    listener: ((event: MessageEvent<string>) => void) | EventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: ((event: any) => void) | EventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;

  close(): void;

  /**
   * All events of channels, gaps among them. Leaving the loop closes the stream. It ends after `close()` and at a stream's end, and
   * fails where the stream is refused, at `signal`, and where more than `buffer` events wait.
   */
  [Symbol.asyncIterator](): AsyncGenerator<MessageEvent<string>, void, void>;
}

/** One block of an event stream; without data it is no event. */
export interface Block {
  type: string;
  data: string | undefined;
  id: string;
}

/** Reads the text of an event stream, in any pieces, as the HTML standard says (9.2.6). */
export class Parser {
  constructor(tell: (block: Block) => void, most?: number, id?: string);
  /** The last `retry:`, in ms. */
  retry: number;
  push(text: string): void;
}
