// A validator client on Node's own fetch (undici), as Lodestar uses it. It follows redirects with the body.
// arguments: URL, certificate, key, CA certificates (PEM), body (file). Prints whether it was redirected, status, body.

import { readFileSync } from "node:fs";

const [url, cert, key, ca, body] = process.argv.slice(2);

// The dispatcher that ships with Node: its class is known once fetch has been used.
await fetch("data:,").then((response) => response.text());
const { constructor: Agent } = globalThis[Symbol.for("undici.globalDispatcher.1")];
const connect = { cert: readFileSync(cert), key: readFileSync(key), ca: readFileSync(ca) };

const response = await fetch(url, {
  method: "POST",
  headers: { "content-type": "application/json", accept: "application/json" },
  // As text: the bytes of a buffer are given away with the first request and gone at the redirect.
  body: readFileSync(body, "utf8"),
  dispatcher: new Agent({ connect }),
  signal: AbortSignal.timeout(60_000),
});
console.log(response.redirected ? "redirected" : "direct");
console.log(response.status);
console.log(await response.text());
process.exit(0);
