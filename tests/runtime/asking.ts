// A program that does not say whether it minds a software adapter.
import { init } from "../../runtime/init.ts";

await init();
