// Loaded before every file of tests: the end of the file closes its device, and the driver panics
// where that still has more to do than fits in six seconds.
import { currentContext } from "../runtime/context.ts";

Deno.test.afterAll(async () => {
  await currentContext()?.device.gpu.queue.onSubmittedWorkDone();
});
