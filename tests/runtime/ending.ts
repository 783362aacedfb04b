// A program that starts work, reads nothing and ends; it tells what holds its end up.
import { init } from "../../runtime/init.ts";
import { ones } from "../../graph/create.ts";
import { realize } from "../../graph/realize.ts";

await init({ software: "allow" });
globalThis.addEventListener(
  "beforeunload",
  (event) => console.log("held:", event.defaultPrevented),
);
await realize(ones([64, 64]).matmul(ones([64, 64])));
