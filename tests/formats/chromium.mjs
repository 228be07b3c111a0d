// A headless Chromium, driven over a pipe by its own protocol (CDP): nothing but node is needed. Knows nothing of what is
// opened in it.

import { spawn } from "node:child_process";

const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--enable-unsafe-swiftshader", "--window-size=1300,900",
  "--remote-debugging-pipe",
];
/** Only a hang takes as long. */
const PATIENCE = 60_000;

export class Chromium {
  static async start(program, profile) {
    const browser = new Chromium();
    browser.child = spawn(program, [...FLAGS, `--user-data-dir=${profile}`], {
      stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
    });
    browser.waiting = new Map();
    browser.number = 0;
    let rest = "";
    browser.child.stdio[4].on("data", (bytes) => {
      const messages = (rest + bytes).split("\0");
      rest = messages.pop();
      for (const message of messages.map((text) => JSON.parse(text))) {
        browser.waiting.get(message.id ?? message.method)?.(message);
      }
    });
    browser.child.on("exit", () => browser.waiting.forEach((done) => done({ error: { message: "Chromium ended" } })));
    const { targetId } = await browser.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await browser.send("Target.attachToTarget", { targetId, flatten: true });
    browser.session = sessionId;
    await browser.send("Page.enable");
    return browser;
  }

  /** Waits for the answer with this number, or for the event of this name. */
  wait(what) {
    return new Promise((resolve, reject) => {
      const hang = setTimeout(() => reject(new Error(`Chromium says nothing of ${what}`)), PATIENCE);
      this.waiting.set(what, (message) => {
        clearTimeout(hang);
        this.waiting.delete(what);
        if (message.error) reject(new Error(message.error.message));
        else resolve(message.result);
      });
    });
  }

  send(method, params = {}) {
    const id = ++this.number;
    const answer = this.wait(id);
    const message = { id, method, params, ...(this.session && { sessionId: this.session }) };
    this.child.stdio[3].write(`${JSON.stringify(message)}\0`);
    return answer;
  }

  async open(url) {
    // Away first: the same page with another fragment would not load anew.
    for (const page of ["about:blank", url]) {
      const loaded = this.wait("Page.loadEventFired");
      await this.send("Page.navigate", { url: page });
      await loaded;
    }
  }

  async value(expression) {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", {
      expression: `(async () => (${expression}))()`,
      awaitPromise: true,
      returnByValue: true,
    });
    if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description}`);
    return result.value;
  }

  async until(expression) {
    const end = Date.now() + PATIENCE;
    while (!(await this.value(expression))) {
      if (Date.now() > end) throw new Error(`never so: ${expression}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** As a mouse does it, in the middle of what is there. */
  async click(selector) {
    const [x, y] = await this.value(`(({ x, y, width, height }) => [x + width / 2, y + height / 2])(
      document.querySelector(${JSON.stringify(selector)}).getBoundingClientRect())`);
    for (const type of ["mouseMoved", "mousePressed", "mouseReleased"]) {
      await this.send("Input.dispatchMouseEvent", { type, x, y, button: type === "mouseMoved" ? "none" : "left", clickCount: 1 });
    }
  }

  async picture(path) {
    const { data } = await this.send("Page.captureScreenshot");
    (await import("node:fs")).writeFileSync(path, Buffer.from(data, "base64"));
  }

  async end() {
    const ended = new Promise((resolve) => this.child.on("exit", resolve));
    this.send("Browser.close").catch(() => {});
    await ended;
  }
}
