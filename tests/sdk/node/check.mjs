// Runs assertions one after the other, says which failed, and looks at the model server from the side.
import assert from "node:assert/strict";

export const URL = process.env.PULLYARD_URL;
const MODEL = process.env.MODEL_URL;

export async function run(assertions) {
  let failed = 0;
  for (const [name, assertion] of Object.entries(assertions)) {
    const begun = performance.now();
    try {
      await assertion();
      console.log(`ok      ${name} (${((performance.now() - begun) / 1000).toFixed(1)} s)`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED  ${name}\n${error.stack}`);
    }
  }
  process.exit(failed === 0 ? 0 : 1);
}

export async function rejects(kind, action) {
  try {
    await action();
  } catch (error) {
    assert(error instanceof kind, `${error.constructor.name} is no ${kind.name}: ${error.stack}`);
    return error;
  }
  assert.fail(`no ${kind.name}`);
}

export async function until(isSo, what) {
  const end = performance.now() + 20_000;
  while (!(await isSo())) {
    assert(performance.now() < end, `this never came: ${what}`);
    await new Promise((go) => setTimeout(go, 10));
  }
}

const told = async (what, prompt) => (await (await fetch(`${MODEL}/told/${what}/${encodeURIComponent(prompt)}`)).json()).count;

/// How often the model server was asked this, and how many of those who asked have left before the end.
export const seen = (prompt) => told("seen", prompt);
export const gone = (prompt) => told("gone", prompt);
