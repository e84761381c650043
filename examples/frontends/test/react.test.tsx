import { act, cleanup, render, renderHook } from "@testing-library/react";
import { StrictMode } from "react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type StreamOptions, useEventStream } from "../react/useEventStream";
import { FakeEventStream, gap } from "./fake";

vi.mock("fantail-events", async () => ({ EventStream: (await import("./fake")).FakeEventStream }));

beforeEach(() => FakeEventStream.install());
afterEach(cleanup);

const only = () => {
  expect(FakeEventStream.live).toHaveLength(1);
  return FakeEventStream.live[0];
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
  act(() => only().fail());
  expect(hook.result.current).toBe("connecting");
  act(() => only().open());
  act(() => only().fail(403));
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
  expect(FakeEventStream.live).toEqual([]);
});

test("other channels are another set of the same stream, and the token is that of the last render", async () => {
  const hook = renderHook(({ channels, token }) => useEventStream("/events", { channels, token, onEvent: vi.fn() }), {
    initialProps: { channels: ["a"], token: "one" },
  });
  const source = only();
  expect(source.channels).toEqual(["a"]);
  hook.rerender({ channels: ["a", "b"], token: "two" });
  expect(only()).toBe(source);
  expect(source.channels).toEqual(["a", "b"]);
  expect(await (source.options.token as Function)({ reason: "expiring" })).toBe("two");
});

test("nothing is left behind after unmounting, in strict mode either", () => {
  function Page() {
    return <p>{useEventStream("/events/a", { onEvent: vi.fn() })}</p>;
  }
  const page = render(<StrictMode><Page /></StrictMode>);
  expect(FakeEventStream.all).toHaveLength(2);
  only();
  page.unmount();
  expect(FakeEventStream.live).toEqual([]);
});
