// What people open in a browser, opened in one: the flame graph, searched and zoomed as they do it, and speedscope with a
// file dropped into it. Knows nothing of how the browser is driven.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";

/** Looks at it, searches and zooms; returns the milliseconds of each root. */
export async function openFlamegraph(browser, path, roots) {
  await browser.open(`file://${path}`);
  const titles = await browser.value(`[...document.querySelectorAll('#frames g')].map((g) =>
    ({ title: g.querySelector('title').textContent, y: +g.querySelector('rect').getAttribute('y') }))`);
  const [totals, shares] = [new Map(), new Map()];
  for (const { title } of titles) {
    const told = /^(.*) \(([\d,]+) µs, ([\d.]+)%\)$/s.exec(title);
    if (!told || !roots.has(told[1])) continue;
    totals.set(told[1], Number(told[2].replaceAll(",", "")) / 1e3);
    shares.set(told[1], Number(told[3]));
  }
  // The loop's shares are 100 % without the threads', and the threads' are.
  const sum = (of, isThreads) =>
    [...of].filter(([root]) => root.endsWith("(threads)") === isThreads).reduce((all, [, one]) => all + one, 0);
  for (const isThreads of [false, true]) {
    const [all, told] = [sum(totals, isThreads), sum(shares, isThreads)];
    assert(all === 0 ? told === 0 : Math.abs(told - 100) < 0.5, `${path}: ${told} % of ${isThreads ? "threads" : "loops"}`);
  }
  const widest = [...roots].sort((a, b) => b[1] - a[1])[0][0];
  // Ctrl-F is not taken from the browser: the word stands in the corner, and a click on it asks.
  await browser.value(`window.prompt = () => ${JSON.stringify(widest.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))}`);
  await browser.click("#search");
  const matched = await browser.value("document.querySelector('#matched').textContent");
  assert.match(matched, /^Matched: [\d.]+%/, `${path}: ${matched}`);
  // A click on a root zooms to it: it takes the whole width, and the others are gone.
  const zoomed = `[...document.querySelectorAll('#frames g')].find((g) =>
    g.querySelector('title').textContent.startsWith(${JSON.stringify(`${widest} (`)}))`;
  const width = `(${zoomed}).querySelector('rect').getBoundingClientRect().width`;
  const before = await browser.value(width);
  await browser.value(`(${zoomed}).id = 'otop-widest'`);
  await browser.click("#otop-widest rect");
  const after = await browser.value(width);
  assert(after > before || roots.size === 1, `${path}: ${before} px wide, and zoomed ${after}`);
  assert(!(await browser.value("document.querySelector('#unzoom').classList.contains('hide')")), `${path}: not zoomed`);
  await browser.click("#unzoom");
  assert.equal(Math.round(await browser.value(width)), Math.round(before), `${path}: zoomed out again`);
  return totals;
}

/** The application itself takes the file, as its command line hands it over. */
export async function openSpeedscope(browser, release, path) {
  const file = readFileSync(path).toString("base64");
  const script = `${path}.js`;
  writeFileSync(script, `speedscope.loadFileFromBase64(${JSON.stringify(basename(path))}, "${file}")`);
  await browser.open(`file://${release}/index.html#localProfilePath=${script}`);
  await browser.until("document.title.endsWith(' - speedscope') || document.body.innerText.includes('went wrong')");
  assert(!(await browser.value("document.body.innerText.includes('went wrong')")), `${path}: speedscope does not take it`);
}
