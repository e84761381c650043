import { EventStream, type Gap, type Options } from "fantail-events";
import { type MaybeRefOrGetter, type Ref, readonly, ref, toValue, watch } from "vue";

export interface StreamEvent {
  id: string;
  type: string;
  data: string;
}

/** `token`, `share` and `withCredentials` are those of `EventStream`. */
export interface StreamOptions extends Pick<Options, "token" | "share" | "withCredentials"> {
  /** Another set changes the stream: channels that stay go on where they were. */
  channels?: MaybeRefOrGetter<string[] | undefined>;
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
 * An event stream for as long as the component, or the effect scope, lives. It begins anew where `url` changes. Where
 * `url` is null there is none.
 */
export function useEventStream(
  url: MaybeRefOrGetter<string | null>,
  options: StreamOptions,
): { state: Readonly<Ref<StreamState>> } {
  const state = ref<StreamState>("connecting");
  const { types = [], token, share, withCredentials = false } = options;
  let stream: EventStream | undefined;

  watch(
    () => toValue(url),
    (address, _, onCleanup) => {
      if (address === null) return;
      const source = new EventStream(address, { channels: toValue(options.channels), token, share, withCredentials });
      stream = source;
      onCleanup(() => source.close());
      const show = () => (state.value = STATES[source.readyState]);
      show();
      source.onopen = source.onerror = show;
      for (const type of new Set(["message", ...types])) {
        source.addEventListener(type, (event: MessageEvent<string>) => {
          options.onEvent({ id: event.lastEventId, type, data: event.data });
        });
      }
      source.addEventListener("fantail.gap", (event: MessageEvent<string>) => {
        options.onGap?.(JSON.parse(event.data));
      });
    },
    { immediate: true },
  );
  watch(
    () => toValue(options.channels),
    (channels) => {
      if (stream?.channels && channels) stream.channels = channels;
    },
  );

  return { state: readonly(state) };
}
