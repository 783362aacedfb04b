import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { decodeSafetensors, encodeSafetensors } from "../../data/safetensors.ts";
import * as nn from "../../nn/mod.ts";
import { adam, sgd } from "../../optim/optimizer.ts";
import { plateau } from "../../optim/plateau.ts";
import { crossEntropy } from "../../nn/losses.ts";
import { where } from "../../graph/operations.ts";
import { full } from "../../graph/create.ts";
import type { Tensor } from "../../graph/tensor.ts";
import * as random from "../../graph/random.ts";
import { realize } from "../../graph/realize.ts";
import { leaves } from "../../optim/tree.ts";
import { init, memory, synchronize } from "../../runtime/init.ts";
import { loadTree } from "../../train/checkpoint.ts";
import { evaluate, Evaluator } from "../../train/evaluate.ts";
import { fit } from "../../train/loop.ts";
import { modelPath, statePath } from "../../train/saved.ts";
import { decodeRecord } from "../../train/record.ts";
import { clouds, model, textSink, toyRun } from "./toy.ts";

await init({ software: "allow" });

/** Runs with a folder that is gone afterwards. */
async function inFolder(f: (out: string) => Promise<void>): Promise<void> {
  const out = await Deno.makeTempDir();
  try {
    await f(out);
  } finally {
    await Deno.remove(out, { recursive: true });
  }
}

/** What a run left, but for how long it took. */
async function leftIn(out: string) {
  const { tensors, metadata } = decodeSafetensors(await Deno.readFile(statePath(out)));
  const { history, seconds: _, stepSeconds: __, ...record } = decodeRecord(out, metadata);
  return {
    model: await Deno.readFile(modelPath(out)),
    tensors,
    record: { ...record, history: history.map(({ seconds: _, ...epoch }) => epoch) },
  };
}

Deno.test("fit() learns, tells how it goes, and keeps the best parameters", async () => {
  const { sink, text } = textSink(false);
  const options = toyRun({ epochs: 8, sink });
  const result = await fit(options);
  assertEquals(result.history.map((e) => e.epoch), [1, 2, 3, 4, 5, 6, 7, 8]);
  assertEquals(result.stopped, undefined);
  const { best } = result;
  assert(best !== null && best.accuracy > 0.8, `accuracy ${best?.accuracy}`);
  assertEquals(text().match(/^epoch \d\/8 .* validation: /gm)?.length, 8);
  assertStringIncludes(text(), "(best)");
  // The parameters that come back are those that were scored.
  const score = await evaluate(options, options.validation, result.params, result.statistics);
  assertEquals(score, { loss: best.loss, accuracy: best.accuracy });
});

Deno.test("fit() returns an earlier epoch's parameters where later ones are worse", async () => {
  const rate = (step: Tensor) => where(step.less(40), full([], 0.05), full([], 3));
  const options = toyRun({ epochs: 4, optimizer: sgd({ rate }), model: nn.mlp([8, 16, 3]) });
  const { best, history, params } = await fit(options);
  assertEquals(best?.epoch, 2);
  assert(history[3]!.validation.loss > best!.loss);
  assertEquals((await evaluate(options, options.validation, params)).loss, best!.loss);
});

Deno.test("fit() resumed goes on bit for bit, wherever it was stopped", async () => {
  await inFolder(async (folder) => {
    const whole = join(folder, "whole"), parts = join(folder, "parts");
    await fit(toyRun({ out: whole }));
    let runs = 0;
    for (let stopped = true; stopped; runs++) {
      // Looks come after steps 2, 10 … of each epoch: every run gets a little further.
      const abort = new AbortController();
      let looks = 0;
      const { sink } = textSink(true, () => ++looks > 1 + runs && abort.abort());
      const options = toyRun({ out: parts, resume: runs > 0, abort: abort.signal, sink });
      const { stopped: reason } = await fit(options);
      stopped = reason !== undefined;
      if (stopped) assertEquals(reason, "abort");
      assert(runs < 10);
    }
    assert(runs > 2, `only ${runs} runs`);
    assertEquals(await leftIn(parts), await leftIn(whole));
  });
});

Deno.test("fit() takes several steps at once, and the rest of an epoch one by one", async () => {
  await inFolder(async (folder) => {
    const single = await fit(toyRun({ epochs: 2 }));
    // 20 steps: two times eight and four.
    const whole = join(folder, "whole"), parts = join(folder, "parts");
    const together = await fit(toyRun({ epochs: 2, stepsPerSubmit: 8, out: whole }));
    together.history.forEach(({ train, validation, curve }, i) => {
      const other = single.history[i]!;
      assert(Math.abs(train.loss - other.train.loss) < 1e-4);
      assert(Math.abs(validation.loss - other.validation.loss) < 1e-4);
      assertEquals(curve.loss.length, other.curve.loss.length);
    });
    let runs = 0;
    for (let stopped = true; stopped; runs++) {
      const abort = new AbortController();
      let looks = 0;
      const { sink } = textSink(true, () => ++looks > 1 + runs && abort.abort());
      const options = { out: parts, resume: runs > 0, abort: abort.signal, sink };
      const { stopped: reason } = await fit(toyRun({ epochs: 2, stepsPerSubmit: 8, ...options }));
      stopped = reason !== undefined;
      assert(runs < 10);
    }
    assert(runs > 1);
    assertEquals(await leftIn(parts), await leftIn(whole));
  });
  await assertRejects(() => fit(toyRun({ stepsPerSubmit: 0 })), RangeError, "stepsPerSubmit is 0");
});

Deno.test("fit() ends when its patience does, and stays ended", async () => {
  await inFolder(async (out) => {
    const { sink, text } = textSink(false);
    // Nothing gets better once the rate is 0.
    const rate = (step: Tensor) => where(step.less(20), full([], 0.05), full([], 0));
    const run = { epochs: 9, patience: 3, optimizer: sgd({ rate }), model: nn.mlp([8, 16, 3]) };
    const { stopped, history, best } = await fit(toyRun({ ...run, out, sink }));
    assertEquals([stopped, history.length, best?.epoch], ["patience", 4, 1]);
    assertStringIncludes(text(), "epoch 1 is still the best after 3 more");
    const again = await fit(toyRun({ ...run, out, resume: true }));
    assertEquals([again.stopped, again.history.length], ["patience", 4]);
    const more = await fit(toyRun({ ...run, out, resume: true, patience: 5 }));
    assertEquals([more.stopped, more.history.length], ["patience", 6]);
  });
  await assertRejects(() => fit(toyRun({ patience: 0 })), RangeError, "patience is 0");
});

Deno.test("fit() lets the rate fall where the validation loss stays, resumed or not", async () => {
  const { sink, text } = textSink(false);
  const run = (more = {}) =>
    toyRun({
      epochs: 5,
      model: nn.mlp([8, 16, 3]),
      // Better by 99 % is never: every epoch but the first lets it fall.
      plateau: plateau(0.4, { patience: 0, factor: 0.5, threshold: 0.99 }),
      optimizer: (rate: Tensor) => sgd({ rate }),
      ...more,
    });
  const whole = await fit(run({ sink }));
  assertEquals(text().match(/the rate falls to [\d.]+/g)?.at(-1), "the rate falls to 0.025");
  const rates = whole.args[0].rate;
  assertEquals(Math.round(1e4 * await rates!.item()) / 1e4, 0.025);
  await inFolder(async (out) => {
    await fit(run({ out, epochs: 2 }));
    const { history } = await fit(run({ out, resume: true }));
    assertEquals(history.map((e) => e.validation), whole.history.map((e) => e.validation));
  });
  const optimizer = sgd({ rate: 0.1 });
  await assertRejects(
    () => fit(run({ optimizer })),
    TypeError,
    "there is a plateau and an optimizer",
  );
  await assertRejects(
    () => fit(run({ plateau: undefined })),
    TypeError,
    "the optimizer is a function of a rate",
  );
});

Deno.test("fit() resumed after its last epoch has nothing to do, and can be prolonged", async () => {
  await inFolder(async (out) => {
    const first = await fit(toyRun({ out, epochs: 1 }));
    const again = await fit(toyRun({ out, epochs: 1, resume: true }));
    assertEquals(again.best, first.best);
    assertEquals(again.history, first.history);
    const longer = await fit(toyRun({ out, epochs: 3, resume: true }));
    assertEquals(longer.history.length, 3);
    const { history } = await fit(toyRun({ epochs: 3 }));
    assertEquals(longer.history.map((e) => e.validation), history.map((e) => e.validation));
  });
});

Deno.test("fit() leaves a model that loads by itself", async () => {
  await inFolder(async (out) => {
    const { params, statistics, best } = await fit(toyRun({ out, epochs: 2 }));
    const like = { params: model.init(random.key(0)), statistics: model.initState() };
    const { tree, metadata } = await loadTree(modelPath(out), like);
    assertEquals(Number(metadata.epoch), best?.epoch);
    const data = clouds(50, 9);
    assertEquals(
      await evaluate({ model }, data, tree.params, tree.statistics),
      await evaluate({ model }, data, params, statistics),
    );
  });
});

Deno.test("fit() resumed on another adapter says that bits may differ", async () => {
  await inFolder(async (out) => {
    const lines = async (): Promise<string> => {
      const { sink, text } = textSink(false);
      await fit(toyRun({ out, epochs: 1, resume: true, sink }));
      return text();
    };
    await fit(toyRun({ out, epochs: 1 }));
    assertEquals((await lines()).includes("elsewhere"), false);
    const path = statePath(out), file = await Deno.readFile(path);
    const { tensors, metadata } = decodeSafetensors(file, path);
    const { sha256: _, ["retrograd.place"]: saved, ...rest } = metadata;
    const beside = decodeSafetensors(await Deno.readFile(modelPath(out)), modelPath(out));
    assertEquals(beside.metadata["retrograd.place"], saved);
    const place = JSON.parse(saved!);
    assertEquals(place.deno, Deno.version.deno);
    assertEquals(typeof place.ways, "object");
    const moved = { ...rest, "retrograd.place": JSON.stringify({ ...place, adapter: "another" }) };
    await Deno.writeFile(path, encodeSafetensors(tensors, moved));
    const told = await lines();
    assertEquals(told.includes("resumed elsewhere (adapter another, now "), true, told);
    assertEquals(told.includes("bits may differ"), true, told);
  });
});

Deno.test("fit() refuses to resume what is not there, damaged, or another run", async () => {
  await inFolder(async (out) => {
    const resume = (more = {}) => fit(toyRun({ out, resume: true, ...more }));
    await assertRejects(() => fit(toyRun({ resume: true })), TypeError, "there is no folder out");
    await assertRejects(resume, Error, `Cannot resume: there is no ${statePath(out)}`);
    await fit(toyRun({ out, epochs: 1, settings: { rate: 0.01 } }));
    await assertRejects(
      () => resume({ batch: 8, settings: { rate: 0.01 } }),
      TypeError,
      "batch is 8, expected 16",
    );
    await assertRejects(
      () => resume({ seed: 8, settings: { rate: 0.01 } }),
      TypeError,
      "seed is 8",
    );
    await assertRejects(
      () => resume({ settings: { rate: 1 } }),
      TypeError,
      "rate is 1, expected 0.01",
    );
    await assertRejects(
      () => resume({ settings: { rate: 0.01 }, model: nn.mlp([8, 4, 3]) }),
      TypeError,
      "Cannot load",
    );
    const whole = await Deno.readFile(statePath(out));
    await Deno.writeFile(statePath(out), whole.slice(0, -1));
    await assertRejects(() => resume({ settings: { rate: 0.01 } }), RangeError, "is it cut short?");
  });
});

Deno.test("fit() resumed keeps its own best, whatever lies beside the state", async () => {
  await inFolder(async (folder) => {
    const out = join(folder, "one"), other = join(folder, "other");
    // The rate makes the first epoch the best, so that the best is not the latest.
    const rate = (step: Tensor) => where(step.less(21), full([], 0.05), full([], 3));
    const options = toyRun({ out, epochs: 2, optimizer: sgd({ rate }), model: nn.mlp([8, 16, 3]) });
    const { best, params } = await fit(options);
    assertEquals(best?.epoch, 1);
    await fit(toyRun({ out: other, epochs: 1, seed: 8, model: nn.mlp([8, 16, 3]) }));
    const model = await Deno.readFile(modelPath(out));
    const foreign = await Deno.readFile(modelPath(other));
    const resumed = async (before: () => Promise<void>) => {
      await before();
      const again = await fit({ ...options, resume: true });
      assertEquals(again.best, best);
      const values = async (p: typeof params) => await Promise.all(leaves(p).map((x) => x.data()));
      assertEquals(await values(again.params), await values(params));
      assertEquals(await Deno.readFile(modelPath(out)), model);
    };
    await resumed(() => Promise.resolve());
    await resumed(() => Deno.writeFile(modelPath(out), foreign));
    await resumed(() => Deno.remove(modelPath(out)));
  });
});

Deno.test("fit() stops where the loss is NaN, and says so", async () => {
  const optimizer = adam({ rate: 1e30 });
  await assertRejects(() => fit(toyRun({ optimizer })), Error, "the loss is NaN in epoch 1");
});

Deno.test("fit() knows before it trains that its folder cannot be written", async () => {
  await inFolder(async (folder) => {
    const file = `${folder}/file`;
    await Deno.writeTextFile(file, "");
    for (const out of [file, `${file}/below`]) {
      await assertRejects(() => fit(toyRun({ out })), Error, `Cannot write ${out}: `);
    }
    await fit(toyRun({ out: folder, epochs: 1 }));
    const left = Array.from(Deno.readDirSync(folder), ({ name }) => name).sort();
    assertEquals(left, ["file", "model.safetensors", "state.safetensors"]);
  });
});

Deno.test("fit() refuses numbers that make no sense", async () => {
  await assertRejects(() => fit(toyRun({ epochs: 0 })), RangeError, "epochs is 0");
  await assertRejects(() => fit(toyRun({ batch: 331 })), RangeError, "the batch is 331");
});

Deno.test("fit() holds no more memory after many epochs than after one", async () => {
  const { memory: samples } = await fit(toyRun({ epochs: 30 }));
  const after = (epochs: number) => samples[Math.floor(samples.length * epochs / 30)]!.live;
  assert(after(29) <= after(5), `${after(29)} bytes against ${after(5)}`);
  await synchronize();
  const { kinds } = memory();
  assert(kinds.parameters.peak > 0 && kinds.state.peak > 0);
});

Deno.test("fit() counts parameters and state as such, also those that were on the device before", async () => {
  const layer = nn.sequential([nn.linear(8, 4096), nn.linear(4096, 3)]);
  const params = await realize(layer.init(random.key(3)));
  const bytes = leaves(params).reduce((sum, p) => sum + 4 * p.size, 0);
  await synchronize();
  const before = memory().kinds;
  // What other tests have left is little, and may be collected meanwhile.
  const grew = (kind: "parameters" | "state", by: number) => {
    const { live } = memory().kinds[kind];
    assert(live > before[kind].live + 0.9 * by, `${kind}: ${live} after ${before[kind].live}`);
  };
  const { args } = await fit(toyRun({ model: { ...layer, init: () => params }, epochs: 1 }));
  grew("parameters", bytes);
  grew("state", 2 * bytes);
  assertEquals(args.length, 2); // what is counted is held until here
});

Deno.test("evaluate() counts every sample once, whatever fills the last batch", async () => {
  const data = clouds(7, 3), mlp = nn.mlp([8, 5, 3]), params = mlp.init(random.key(2));
  const { x, y } = [...data.batches({ size: 7 })][0]!;
  const expected = await crossEntropy(mlp.apply(params, x), y).item();
  for (const size of [2, 4, 500]) {
    const [loss] = new Evaluator({ model: mlp }, data, size).run(params, null);
    assert(Math.abs(await loss.item() / 7 - expected) < 1e-6, `batches of ${size}`);
  }
});
