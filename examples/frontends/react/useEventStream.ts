import { EventStream, type Gap, type Options } from "fantail-events";
import { useEffect, useRef, useState } from "react";

export interface StreamEvent {
  id: string;
  type: string;
  data: string;
}

/** `channels`, `token`, `share` and `withCredentials` are those of `EventStream`. */
export interface StreamOptions extends Pick<Options, "token" | "share" | "withCredentials"> {
  /** Another set changes the stream: channels that stay go on where they were. */
  channels?: string[];
  /** Types to listen to besides those without one, which are called `message`. */
  types?: string[];
  onEvent(event: StreamEvent): void;
  /** Events are gone that this page should have had: load the state afresh. */
  onGap?(gap: Gap): void;
}

/** `closed`: finished, or refused; the stream does not come back. */
export type StreamState = "connecting" | "open" | "closed";

const STATES: StreamState[] = ["connecting", "open", "closed"];

/**
 * An event stream for as long as the component is mounted. It begins anew where `url`, `types`, `share` or `withCredentials`
 * change, and not where only the callbacks are others. Without `url` there is none.
 */
export function useEventStream(url: string | null, options: StreamOptions): StreamState {
  const [state, setState] = useState<StreamState>("connecting");
  const stream = useRef<EventStream>(null);
  const latest = useRef(options);
  useEffect(() => {
    latest.current = options;
  });
  const types = [...new Set(["message", ...(options.types ?? [])])].join("\n");
  const channels = options.channels?.join("\n");
  const named = channels !== undefined;
  const { share, withCredentials = false } = options;

  useEffect(() => {
    if (url === null) return;
    const { channels, token } = latest.current;
    // The token of the last render, whenever it is asked for.
    const fresh: Options["token"] = (why) => {
      const { token } = latest.current;
      return typeof token === "function" ? token(why) : token;
    };
    const source = new EventStream(url, { channels, share, withCredentials, token: token && fresh });
    stream.current = source;
    const show = () => setState(STATES[source.readyState]);
    show();
    source.onopen = source.onerror = show;
    for (const type of types.split("\n")) {
      source.addEventListener(type, (event: MessageEvent<string>) => {
        latest.current.onEvent({ id: event.lastEventId, type, data: event.data });
      });
    }
    source.addEventListener("fantail.gap", (event: MessageEvent<string>) => {
      latest.current.onGap?.(JSON.parse(event.data));
    });
    return () => source.close();
  }, [url, types, named, share, withCredentials]);

  useEffect(() => {
    if (stream.current && channels !== undefined) stream.current.channels = channels.split("\n").filter(Boolean);
  }, [channels]);

  return state;
}
