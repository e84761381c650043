import { mount } from "@vue/test-utils";
import { beforeEach, expect, test, vi } from "vitest";
import { defineComponent, effectScope, h, nextTick, ref } from "vue";
import { type StreamState, useEventStream } from "../vue/useEventStream";
import { FakeEventStream, gap } from "./fake";

vi.mock("fantail-events", async () => ({ EventStream: (await import("./fake")).FakeEventStream }));

beforeEach(() => FakeEventStream.install());

const only = () => {
  expect(FakeEventStream.live).toHaveLength(1);
  return FakeEventStream.live[0];
};

test("events and gaps reach the callbacks", () => {
  const options = { types: ["created"], onEvent: vi.fn(), onGap: vi.fn() };
  const scope = effectScope();
  scope.run(() => useEventStream("/events/a", options));
  only().open();
  only().say("created", "hello", "1-0");
  only().say("message", "plain", "2-0");
  only().say("other", "not asked for", "3-0");
  only().say("fantail.gap", JSON.stringify(gap));
  expect(options.onEvent.mock.calls).toEqual([
    [{ id: "1-0", type: "created", data: "hello" }],
    [{ id: "2-0", type: "message", data: "plain" }],
  ]);
  expect(options.onGap.mock.calls).toEqual([[gap]]);
  scope.stop();
  expect(FakeEventStream.live).toEqual([]);
});

test("a component shows the state, follows the address, and leaves nothing behind", async () => {
  const url = ref<string | null>("/events/a");
  const Page = defineComponent(() => {
    const { state } = useEventStream(url, { onEvent: vi.fn(), withCredentials: true });
    return () => h("p", state.value);
  });
  const page = mount(Page);
  const shows = async (state: StreamState) => {
    await nextTick();
    expect(page.text()).toBe(state);
  };
  await shows("connecting");
  only().open();
  await shows("open");
  only().fail();
  await shows("connecting");
  only().open();
  url.value = "/events/b";
  await shows("connecting");
  expect(only()).toMatchObject({ url: "/events/b", withCredentials: true });
  only().open();
  only().fail(403);
  await shows("closed");
  url.value = "/events/c";
  await nextTick();
  only();
  page.unmount();
  expect(FakeEventStream.live).toEqual([]);
});

test("other channels are another set of the same stream", async () => {
  const channels = ref(["a"]);
  const scope = effectScope();
  scope.run(() => useEventStream("/events", { channels, onEvent: vi.fn() }));
  const source = only();
  channels.value = ["a", "b"];
  await nextTick();
  expect(only()).toBe(source);
  expect(source.channels).toEqual(["a", "b"]);
  scope.stop();
});

test("without an address there is no stream", () => {
  effectScope().run(() => useEventStream(null, { onEvent: vi.fn() }));
  expect(FakeEventStream.all).toEqual([]);
});
