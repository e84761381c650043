import { act, cleanup, render, renderHook } from "@testing-library/react";
import { StrictMode } from "react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type StreamOptions, useEventStream } from "../react/useEventStream";
import { FakeEventSource, gap } from "./fake";

beforeEach(() => FakeEventSource.install());
afterEach(cleanup);

const only = () => {
  expect(FakeEventSource.live).toHaveLength(1);
  return FakeEventSource.live[0];
};

test("events and gaps reach the callbacks of the last render, without a new stream", () => {
  const hook = renderHook(({ options }) => useEventStream("/events/a", options), {
    initialProps: { options: { types: ["created"], onEvent: vi.fn(), onGap: vi.fn() } as StreamOptions },
  });
  const source = only();
  const options = { types: ["created"], onEvent: vi.fn(), onGap: vi.fn() };
  hook.rerender({ options });
  expect(only()).toBe(source);
  act(() => source.open());
  act(() => source.say("created", "hello", "1-0"));
  act(() => source.say("message", "plain", "2-0"));
  act(() => source.say("other", "not asked for", "3-0"));
  act(() => source.say("fantail.gap", JSON.stringify(gap)));
  expect(options.onEvent.mock.calls).toEqual([
    [{ id: "1-0", type: "created", data: "hello" }],
    [{ id: "2-0", type: "message", data: "plain" }],
  ]);
  expect(options.onGap.mock.calls).toEqual([[gap]]);
});

test("the state follows the connection", () => {
  const hook = renderHook(() => useEventStream("/events/a", { onEvent: vi.fn() }));
  expect(hook.result.current).toBe("connecting");
  act(() => only().open());
  expect(hook.result.current).toBe("open");
  act(() => only().fail(false));
  expect(hook.result.current).toBe("connecting");
  act(() => only().open());
  act(() => only().fail(true));
  expect(hook.result.current).toBe("closed");
});

test("another address is another stream, and none is none", () => {
  const hook = renderHook(({ url }) => useEventStream(url, { onEvent: vi.fn(), withCredentials: true }), {
    initialProps: { url: "/events/a" as string | null },
  });
  act(() => only().open());
  hook.rerender({ url: "/events/b" });
  expect(only()).toMatchObject({ url: "/events/b", withCredentials: true });
  expect(hook.result.current).toBe("connecting");
  hook.rerender({ url: null });
  expect(FakeEventSource.live).toEqual([]);
});

test("nothing is left behind after unmounting, in strict mode either", () => {
  function Page() {
    return <p>{useEventStream("/events/a", { onEvent: vi.fn() })}</p>;
  }
  const page = render(<StrictMode><Page /></StrictMode>);
  expect(FakeEventSource.all).toHaveLength(2);
  only();
  page.unmount();
  expect(FakeEventSource.live).toEqual([]);
});
