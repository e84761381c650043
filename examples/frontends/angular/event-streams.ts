import { Injectable } from "@angular/core";
import { Observable } from "rxjs";

export interface StreamEvent {
  id: string;
  type: string;
  data: string;
}

export interface StreamOptions {
  /** Types to listen to besides those without one, which are called `message`, and `fantail.gap`. */
  types?: string[];
  withCredentials?: boolean;
}

/**
 * EventSource does not come back: the stream was refused, or the channel is finished; a browser does not say which. Who
 * knows the last event of a channel ends there: `takeWhile((event) => event.type !== "done", true)`.
 */
export class StreamClosed extends Error {}

@Injectable({ providedIn: "root" })
export class EventStreams {
  /**
   * An event stream per subscription: it is opened by `subscribe`, and closed by `unsubscribe`; use `toSignal`, the
   * `async` pipe, or `takeUntilDestroyed`. An event of the type `fantail.gap` says that events are gone: load the
   * state afresh. Fails with `StreamClosed`.
   */
  events(url: string, { types = [], withCredentials = false }: StreamOptions = {}): Observable<StreamEvent> {
    return new Observable((subscriber) => {
      const source = new EventSource(url, { withCredentials });
      source.onerror = () => {
        if (source.readyState === EventSource.CLOSED) subscriber.error(new StreamClosed(url));
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
