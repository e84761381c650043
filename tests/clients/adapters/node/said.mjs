// What an adapter says, a JSON object a line; see tests/clients/README.md.
export const order = JSON.parse(process.argv[2]);
export const say = (kind, fields = {}) => process.stdout.write(JSON.stringify({ kind, ...fields }) + "\n");
export const event = (type, data, id) => say("event", { type: type || "message", data, id: id || "" });
