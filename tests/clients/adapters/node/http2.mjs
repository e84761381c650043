// Loaded before a client whose `fetch` has to speak HTTP/2: Node's own does not, npm undici's does.
import { subscribe } from "node:diagnostics_channel";
import { install } from "undici";
import { say } from "./said.mjs";

install();
subscribe("undici:client:connected", ({ socket }) => say("answer", { protocol: socket.alpnProtocol || "http/1.1" }));
