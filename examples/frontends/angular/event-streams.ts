import { Injectable } from "@angular/core";
import { EventStream, type Options, type StreamErrorEvent } from "fantail-events";
import { Observable } from "rxjs";

export interface StreamEvent {
  id: string;
  type: string;
  data: string;
}

/** All but `types` are those of `EventStream`. */
export interface StreamOptions extends Pick<Options, "channels" | "token" | "share" | "withCredentials"> {
  /** Types to listen to besides those without one, which are called `message`, and `fantail.gap`. */
  types?: string[];
}

/** The stream was refused, and does not come back: `event` has `status` and `code`. */
export class StreamClosed extends Error {
  constructor(
    url: string,
    readonly event: StreamErrorEvent,
  ) {
    super(`${url}: ${event.status} ${event.code ?? ""}`);
  }
}

@Injectable({ providedIn: "root" })
export class EventStreams {
  /**
   * An event stream per subscription: it is opened by `subscribe`, and closed by `unsubscribe`; use `toSignal`, the
   * `async` pipe, or `takeUntilDestroyed`. An event of the type `fantail.gap` says that events are gone: load the
   * state afresh. Completes where the channels are finished, fails with `StreamClosed` where it is refused.
   */
  events(url: string, { types = [], ...options }: StreamOptions = {}): Observable<StreamEvent> {
    return new Observable((subscriber) => {
      const source = new EventStream(url, options);
      source.onerror = (event) => {
        if (source.readyState !== EventStream.CLOSED) return;
        if (event.status === 204) subscriber.complete();
        else subscriber.error(new StreamClosed(url, event));
      };
      for (const type of new Set(["message", "fantail.gap", ...types])) {
        source.addEventListener(type, (event: MessageEvent<string>) => {
          subscriber.next({ id: event.lastEventId, type, data: event.data });
        });
      }
      return () => source.close();
    });
  }
}
