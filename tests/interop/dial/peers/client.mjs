// A WebSocket client with the API of browsers, of undici or of Bun: sends each line of its input and prints what comes back.
import { createInterface } from "node:readline";
const { WebSocket } = process.versions.bun ? globalThis : (await import("node:module")).createRequire(import.meta.url)(process.env.UNDICI);
const peer = new WebSocket(process.argv[2]);
peer.onerror = (event) => { console.error(String(event.message ?? event.error)); process.exit(1); };
// What was written goes out before the end.
peer.onclose = (event) => process.stdout.write("", () => process.exit(event.code === 1000 ? 0 : 1));
peer.onopen = async () => {
  console.error(`extensions ${peer.extensions}`);
  for await (const line of createInterface({ input: process.stdin })) {
    const answer = new Promise((done) => { peer.onmessage = (event) => done(event.data); });
    peer.send(line);
    console.log(await answer);
  }
  peer.close(1000);
};
