import { useEffect, useRef, useState } from "react";

export interface StreamEvent {
  id: string;
  type: string;
  data: string;
}

export interface Gap {
  channel: string;
  reason: "trimmed" | "deleted" | "missing" | "reset" | "too_large";
  resume_from: string | null;
  continues_at: string;
  lost: number | null;
}

export interface StreamOptions {
  /** Types to listen to besides those without one, which are called `message`. */
  types?: string[];
  withCredentials?: boolean;
  onEvent(event: StreamEvent): void;
  /** Events are gone that this page should have had: load the state afresh. */
  onGap?(gap: Gap): void;
}

/** `closed`: finished, or refused; EventSource does not come back. */
export type StreamState = "connecting" | "open" | "closed";

/**
 * An event stream for as long as the component is mounted. It begins anew where `url`, `types` or `withCredentials`
 * change, and not where only the callbacks are others. Without `url` there is none.
 */
export function useEventStream(url: string | null, options: StreamOptions): StreamState {
  const [state, setState] = useState<StreamState>("connecting");
  const latest = useRef(options);
  useEffect(() => {
    latest.current = options;
  });
  const types = [...new Set(["message", ...(options.types ?? [])])].join("\n");
  const withCredentials = options.withCredentials ?? false;

  useEffect(() => {
    if (url === null) return;
    setState("connecting");
    const source = new EventSource(url, { withCredentials });
    source.onopen = () => setState("open");
    source.onerror = () => setState(source.readyState === EventSource.CLOSED ? "closed" : "connecting");
    for (const type of types.split("\n")) {
      source.addEventListener(type, (event: MessageEvent<string>) => {
        latest.current.onEvent({ id: event.lastEventId, type, data: event.data });
      });
    }
    source.addEventListener("fantail.gap", (event: MessageEvent<string>) => {
      latest.current.onGap?.(JSON.parse(event.data));
    });
    return () => source.close();
  }, [url, types, withCredentials]);

  return state;
}
