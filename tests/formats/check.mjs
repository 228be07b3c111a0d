// Opens what otop makes of a recording with what reads it, and compares the total of each root with the table. Called by
// `run`. Knows nothing of how otop makes the files.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { Chromium } from "./chromium.mjs";
import { firefoxRoots } from "./firefox.mjs";
import { openFlamegraph, openSpeedscope } from "./pictures.mjs";

const [otop, recording, cache, work, chromium] = process.argv.slice(2);
const require = createRequire(join(cache, "package.json"));
const { Profile } = require("pprof-format");
const Ajv = require("ajv").default;

const run = (...args) => execFileSync(otop, ["replay", recording, ...args], { encoding: "utf8", maxBuffer: 1 << 28 });
const made = (mode, ending) => {
  const path = join(work, `${mode}.${ending}`);
  run("-o", path, "--mode", mode);
  return path;
};
/** A name as folded stacks have it: a semicolon would part frames, and nothing in it moves a terminal. */
const folds = (name) =>
  name.replaceAll(";", ",").replace(/[\x00-\x1f\x7f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`)
    .replace(/[\u202a-\u202e\u2066-\u2069]/g, (c) => `\\u{${c.charCodeAt(0).toString(16)}}`);
const add = (totals, root, ms) => totals.set(folds(root), (totals.get(folds(root)) ?? 0) + ms);

/** Milliseconds of each root, as the table has them: on a CPU, or on the loop. */
function table(mode) {
  const totals = new Map();
  for (const line of run("--json", "--window", "10m").trim().split("\n")) {
    const { sessions, unattributed, quality } = JSON.parse(line);
    for (const row of [...sessions, { ...unattributed, session_id: "unattributed" }]) {
      if (mode === "cpu") totals.set(folds(row.session_id), row.cpu_s * 1e3);
      else add(totals, row.session_id, row.loop_pct * 10 * quality.window_s);
    }
  }
  return totals;
}

/** Milliseconds of each culprit's blocks, as `otop blocks` has them. */
function blocked() {
  const totals = new Map();
  for (const line of run("blocks", "--json").trim().split("\n").filter(Boolean)) {
    const block = JSON.parse(line);
    if (!block.ongoing) add(totals, block.session_id ?? "unattributed", block.duration_ms);
  }
  return totals;
}

/** The lines that flamegraph.pl and inferno take: a stack, a blank, a number. */
function foldedTotals(path) {
  const totals = new Map();
  for (const line of readFileSync(path, "utf8").split("\n")) {
    const stack = /^(.*) (\d+)$/.exec(line);
    if (stack) add(totals, stack[1].split(";")[0], Number(stack[2]) / 1e3);
  }
  return totals;
}

/** By the schema that speedscope ships, and added up as its own importer does. */
function speedscopeTotals(path) {
  const file = JSON.parse(readFileSync(path, "utf8"));
  const schema = JSON.parse(readFileSync(join(cache, "node_modules/speedscope/dist/release/file-format-schema.json")));
  const ajv = new Ajv({ strict: false });
  assert(ajv.validate(schema, file), `${path}: ${ajv.errorsText()}`);
  const totals = new Map();
  const name = (frame) => file.shared.frames[frame].name;
  for (const profile of file.profiles) {
    const unit = { milliseconds: 1, microseconds: 1e-3, nanoseconds: 1e-6, seconds: 1e3 }[profile.unit];
    if (profile.type === "sampled") {
      assert.equal(profile.samples.length, profile.weights.length);
      profile.samples.forEach((stack, i) => stack.length && add(totals, name(stack[0]), profile.weights[i] * unit));
      continue;
    }
    // A block's events stand in a time line of their own, and are counted nowhere.
    let open = [];
    for (const event of profile.events) {
      if (event.type === "O") open.push(event.frame);
      else assert.equal(event.frame, open.pop(), `${path}: what is closed is what was opened last`);
    }
    assert.equal(open.length, 0);
  }
  return totals;
}

/** By Datadog's parser; each sample's label is its root's session. */
function pprofTotals(path) {
  const profile = Profile.decode(gunzipSync(readFileSync(path)));
  const text = (index) => profile.stringTable.strings[Number(index)];
  const byId = (all) => new Map(all.map((one) => [Number(one.id), one]));
  const [locations, functions] = [byId(profile.location), byId(profile.function)];
  const types = profile.sampleType.map((type) => text(type.type));
  assert.equal(text(profile.defaultSampleType), types[1], path);
  const totals = new Map();
  for (const sample of profile.sample) {
    const outermost = locations.get(Number(sample.locationId.at(-1)));
    const root = text(functions.get(Number(outermost.line[0].functionId)).name);
    const label = sample.label.find((label) => text(label.key) === "session");
    if (label) assert.equal(text(label.str), root.replace(/ \(threads\)$/, ""), path);
    // The threads' time is a value of its own, and none of the loop's.
    const [its, other] = root.endsWith("(threads)") ? [types.indexOf("threads"), 1] : [1, types.indexOf("threads")];
    assert.equal(Number(sample.value[other]), 0, path);
    add(totals, root, Number(sample.value[its]) / 1e6);
  }
  return totals;
}

function firefoxTotals(path) {
  const totals = new Map();
  for (const [root, ms] of firefoxRoots(path)) add(totals, root, ms);
  return totals;
}

/** Whether both say the same of each root to 1 %, or to a millisecond. */
function agree(what, totals, truth) {
  for (const root of new Set([...totals.keys(), ...truth.keys()])) {
    const [is, shall] = [totals.get(root) ?? 0, truth.get(root) ?? 0];
    assert(Math.abs(is - shall) <= Math.max(1, shall * 0.01), `${what}: ${root} has ${is} ms, and not ${shall}`);
  }
}

/** As the table has it: threads are no rows of their own, and count where CPU is counted. */
function rows(totals, mode) {
  const rows = new Map();
  for (const [root, ms] of totals) {
    const session = root.replace(/ \(threads\)$/, "");
    if (session === root || mode === "cpu") add(rows, session, ms);
  }
  return rows;
}

const browser = chromium && (await Chromium.start(chromium, join(work, "browser")));
try {
  for (const mode of ["cpu", "wall", "blocked"]) {
    const folded = foldedTotals(made(mode, "folded"));
    // The table's "blocked" is a column in words, of another window: the blocks themselves have the time.
    const truth = mode === "blocked" ? blocked() : table(mode);
    agree(`${mode}, folded against the ${mode === "blocked" ? "blocks" : "table"}`, rows(folded, mode), truth);
    const [speedscope, picture] = [made(mode, "speedscope.json"), made(mode, "svg")];
    agree(`${mode}, speedscope`, speedscopeTotals(speedscope), folded);
    agree(`${mode}, firefox`, firefoxTotals(made(mode, "firefox.json")), folded);
    agree(`${mode}, pprof`, pprofTotals(made(mode, "pb.gz")), folded);
    if (browser) {
      agree(`${mode}, flame graph`, await openFlamegraph(browser, picture, folded), folded);
      await openSpeedscope(browser, join(cache, "node_modules/speedscope/dist/release"), speedscope);
      await openSpeedscope(browser, join(cache, "node_modules/speedscope/dist/release"), join(work, `${mode}.folded`));
    }
    const all = [...folded].map(([root, ms]) => `${root} ${ms.toFixed(1)} ms`).join(", ");
    console.log(`formats agree, ${mode}: ${all}`);
  }
} finally {
  await browser?.end();
}
