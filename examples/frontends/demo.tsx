// The channel `greetings` in three frameworks.
import "@angular/compiler";
import { Component, inject, provideZonelessChangeDetection } from "@angular/core";
import { toSignal } from "@angular/core/rxjs-interop";
import { bootstrapApplication } from "@angular/platform-browser";
import { useState } from "react";
import { createRoot } from "react-dom/client";
import { scan } from "rxjs";
import { createApp, h, ref } from "vue";
import { EventStreams } from "./angular/event-streams";
import { useEventStream as useReactStream } from "./react/useEventStream";
import { useEventStream as useVueStream } from "./vue/useEventStream";

const url = `http://${location.hostname}:8080/events/greetings?since=earliest`;

function ReactPage() {
  const [lines, setLines] = useState<string[]>([]);
  const [shown, setShown] = useState(true);
  const onEvent = ({ data }: { data: string }) => setLines((lines) => [...lines, data]);
  const state = useReactStream(shown ? url : null, { onEvent });
  return (
    <>
      <h2>React <button onClick={() => setShown(false)}>Leave</button></h2>
      <p>{state}</p>
      {lines.map((line, i) => <div className="line" key={i}>{line}</div>)}
    </>
  );
}
createRoot(document.getElementById("react")!).render(<ReactPage />);

const VuePage = {
  setup() {
    const lines = ref<string[]>([]);
    const { state } = useVueStream(url, { onEvent: ({ data }) => lines.value.push(data) });
    return () => [h("h2", "Vue"), h("p", state.value), lines.value.map((line) => h("div", { class: "line" }, line))];
  },
};
createApp(VuePage).mount("#vue");

@Component({
  selector: "#angular",
  template: `<h2>Angular</h2>@for (line of lines(); track $index) {<div class="line">{{ line }}</div>}`,
})
class AngularPage {
  lines = toSignal(
    inject(EventStreams).events(url).pipe(scan((lines: string[], { data }) => [...lines, data], [])),
    { initialValue: [] },
  );
}
bootstrapApplication(AngularPage, { providers: [provideZonelessChangeDetection()] });
