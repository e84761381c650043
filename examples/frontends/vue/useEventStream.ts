import { type MaybeRefOrGetter, type Ref, readonly, ref, toValue, watch } from "vue";

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
 * An event stream for as long as the component, or the effect scope, lives. It begins anew where `url` changes. Where
 * `url` is null there is none.
 */
export function useEventStream(
  url: MaybeRefOrGetter<string | null>,
  options: StreamOptions,
): { state: Readonly<Ref<StreamState>> } {
  const state = ref<StreamState>("connecting");
  const { types = [], withCredentials = false } = options;

  watch(
    () => toValue(url),
    (address, _, onCleanup) => {
      if (address === null) return;
      state.value = "connecting";
      const source = new EventSource(address, { withCredentials });
      onCleanup(() => source.close());
      source.onopen = () => (state.value = "open");
      source.onerror = () => (state.value = source.readyState === EventSource.CLOSED ? "closed" : "connecting");
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

  return { state: readonly(state) };
}
