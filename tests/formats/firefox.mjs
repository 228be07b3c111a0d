// Firefox Profiler's processed format, read by what `src/types/profile.ts` of its repository demands of version 57: its
// importer is in no registry. Knows nothing of otop.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const COLUMNS = {
  samples: ["stack", "time", "weight"],
  markers: ["category", "data", "name", "phase", "startTime", "endTime"],
  stackTable: ["prefix", "frame"],
  frameTable: ["address", "inlineDepth", "category", "subcategory", "func", "nativeSymbol", "innerWindowID", "line", "column"],
  funcTable: ["name", "isJS", "relevantForJS", "resource", "fileName", "lineNumber", "columnNumber"],
  resourceTable: ["lib", "name", "host", "type"],
  nativeSymbols: ["address", "functionSize", "libIndex", "name"],
};

/** Of each sample of all threads its root, and its milliseconds. */
export function firefoxRoots(path) {
  const { meta, libs, shared, threads } = JSON.parse(readFileSync(path, "utf8"));
  assert.equal(meta.preprocessedProfileVersion, 57);
  assert(Array.isArray(libs) && threads.length > 0 && meta.interval > 0 && meta.startTime > 0);
  const types = new Set(meta.markerSchema.map((schema) => schema.name));
  const texts = shared.stringArray.length;
  const roots = [];
  for (const thread of threads) {
    for (const [table, columns] of Object.entries(COLUMNS)) {
      for (const column of columns) {
        assert.equal(thread[table][column].length, thread[table].length, `${path}: ${table}.${column}`);
      }
    }
    const { samples, markers, stackTable, frameTable, funcTable } = thread;
    const inside = (all, length, what) =>
      all.forEach((i) => assert(i === null || (Number.isInteger(i) && i >= 0 && i < length), `${path}: ${what} ${i}`));
    inside(samples.stack, stackTable.length, "stack");
    inside(stackTable.frame, frameTable.length, "frame");
    inside(frameTable.func, funcTable.length, "func");
    inside(frameTable.category, meta.categories.length, "category");
    inside([...funcTable.name, ...funcTable.fileName, ...markers.name], texts, "text");
    stackTable.prefix.forEach((prefix, i) => assert(prefix === null || prefix < i, `${path}: a prefix comes first`));
    samples.time.forEach((time, i) => assert(i === 0 || time >= samples.time[i - 1], `${path}: times go on`));
    assert.equal(samples.weightType, "tracing-ms");
    markers.data.forEach((data, i) => {
      assert(types.has(data.type) && markers.endTime[i] >= markers.startTime[i], `${path}: marker ${i}`);
    });
    samples.stack.forEach((stack, i) => {
      let root = stack;
      while (stackTable.prefix[root] !== null) root = stackTable.prefix[root];
      const name = shared.stringArray[funcTable.name[frameTable.func[stackTable.frame[root]]]];
      roots.push([name, samples.weight[i]]);
    });
  }
  return roots;
}
