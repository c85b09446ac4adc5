// The server of uWebSockets: `node uwebsockets.mjs <folder that has node_modules/uwebsockets>`.
//
// Says its port and answers on its standard input, as the servers of the benchmark do. JavaScript
// runs once for each broadcast: `publish` and all writes are native.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(process.argv[2] + "/");
const uWS = require("uwebsockets");

const TOPIC = "all";
const app = uWS.App();
app.ws("/*", {
  // The client answers no pings.
  sendPingsAutomatically: false,
  idleTimeout: 0,
  open: (ws) => ws.subscribe(TOPIC),
  message: (_ws, message, isBinary) => app.publish(TOPIC, message, isBinary),
});
app.listen("127.0.0.1", 0, (socket) => console.log(uWS.us_socket_local_port(socket)));

const questions = createInterface({ input: process.stdin });
questions.on("line", (question) => {
  if (question !== "cpu") process.exit(1);
  const { user, system } = process.cpuUsage();
  console.log((user + system) * 1000);
});
questions.on("close", () => process.exit(0));
