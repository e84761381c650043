import "@angular/compiler";
import { Component, inject, provideZonelessChangeDetection } from "@angular/core";
import { toSignal } from "@angular/core/rxjs-interop";
import { TestBed, getTestBed } from "@angular/core/testing";
import { BrowserTestingModule, platformBrowserTesting } from "@angular/platform-browser/testing";
import { takeWhile } from "rxjs";
import { beforeEach, expect, test, vi } from "vitest";
import { EventStreams, StreamClosed } from "../angular/event-streams";
import { FakeEventStream, gap } from "./fake";

vi.mock("fantail-events", async () => ({ EventStream: (await import("./fake")).FakeEventStream }));

getTestBed().initTestEnvironment(BrowserTestingModule, platformBrowserTesting());

beforeEach(() => {
  FakeEventStream.install();
  TestBed.resetTestingModule();
  TestBed.configureTestingModule({ providers: [provideZonelessChangeDetection()] });
});

const only = () => {
  expect(FakeEventStream.live).toHaveLength(1);
  return FakeEventStream.live[0];
};
const observer = () => ({ next: vi.fn(), error: vi.fn(), complete: vi.fn() });

test("events and gaps are observed, and who leaves closes the stream", () => {
  const seen = observer();
  const events = TestBed.inject(EventStreams).events("/events/a", { types: ["created"], withCredentials: true });
  expect(FakeEventStream.all).toEqual([]);
  const subscription = events.subscribe(seen);
  const source = only();
  expect(source).toMatchObject({ url: "/events/a", withCredentials: true });
  source.open();
  source.say("created", "hello", "1-0");
  source.fail();
  source.open();
  source.say("message", "plain", "2-0");
  source.say("other", "not asked for", "3-0");
  source.say("fantail.gap", JSON.stringify(gap));
  expect(seen.next.mock.calls).toEqual([
    [{ id: "1-0", type: "created", data: "hello" }],
    [{ id: "2-0", type: "message", data: "plain" }],
    [{ id: "", type: "fantail.gap", data: JSON.stringify(gap) }],
  ]);
  subscription.unsubscribe();
  expect(FakeEventStream.live).toEqual([]);
  expect(seen.complete).not.toHaveBeenCalled();
});

test("a stream that breaks goes on, one that is closed for good fails", () => {
  const seen = observer();
  TestBed.inject(EventStreams).events("/events/a").subscribe(seen);
  only().open();
  only().fail();
  only();
  expect(seen.error).not.toHaveBeenCalled();
  only().fail(403);
  expect(seen.error.mock.calls[0][0]).toBeInstanceOf(StreamClosed);
  expect(seen.error.mock.calls[0][0].event).toMatchObject({ status: 403, code: "code" });
  expect(seen.complete).not.toHaveBeenCalled();
});

test("a stream that is finished completes", () => {
  const seen = observer();
  TestBed.inject(EventStreams).events("/events/a").subscribe(seen);
  only().open();
  only().fail(204);
  expect(seen.complete).toHaveBeenCalledOnce();
  expect(seen.error).not.toHaveBeenCalled();
});

test("who knows the last event completes there, and the stream is closed", () => {
  const seen = observer();
  const events = TestBed.inject(EventStreams).events("/events/a", { types: ["done"] });
  events.pipe(takeWhile((event) => event.type !== "done", true)).subscribe(seen);
  only().open();
  only().say("done", "ok", "1-0");
  expect(seen.next).toHaveBeenCalledOnce();
  expect(seen.complete).toHaveBeenCalledOnce();
  expect(FakeEventStream.live).toEqual([]);
});

test("a component shows the newest event, and closes the stream when it is destroyed", async () => {
  @Component({ template: "<p>{{ newest()?.data }}</p>" })
  class Page {
    newest = toSignal(inject(EventStreams).events("/events/a"));
  }
  const page = TestBed.createComponent(Page);
  await page.whenStable();
  only().open();
  only().say("message", "hello", "1-0");
  await page.whenStable();
  expect(page.nativeElement.textContent).toBe("hello");
  page.destroy();
  expect(FakeEventStream.live).toEqual([]);
});
