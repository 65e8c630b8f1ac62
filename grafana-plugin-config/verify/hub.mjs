// A real hub on a free port with a directory of its own, and what is pushed into it.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Starts the binary that KOH_BINARY names, with more options. */
export async function startHub(...options) {
  const home = mkdtempSync(join(tmpdir(), "koh-dashboards-"));
  const announce = join(home, "address");
  const child = spawn(
    process.env.KOH_BINARY,
    ["serve", "--data", join(home, "data"), "--listen", "127.0.0.1:0", "--announce", announce, ...options],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  let said = "";
  child.stderr.on("data", (text) => {
    said = (said + text).slice(-4000);
  });
  const gone = new Promise((resolve) => child.once("exit", resolve));
  const deadline = Date.now() + 30_000;
  while (!(existsSync(announce) && readFileSync(announce, "utf8").trim())) {
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`the hub does not start:\n${said}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const address = readFileSync(announce, "utf8").trim();
  const url = address.startsWith("http") ? address.replace(/\/$/, "") : `http://${address}`;
  return {
    url,
    async push(path, rows) {
      if (rows.length === 0) return;
      const answer = await fetch(`${url}/api/v1/ingest/${path}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(rows),
      });
      const text = await answer.text();
      if (answer.status !== 200) throw new Error(`POST ${path}: ${answer.status} ${text.slice(0, 2000)}`);
    },
    async post(path, rows) {
      const answer = await fetch(`${url}${path}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(rows),
      });
      if (!answer.ok) throw new Error(`POST ${path}: ${answer.status} ${(await answer.text()).slice(0, 2000)}`);
    },
    async stop() {
      child.kill("SIGTERM");
      await gone;
      rmSync(home, { recursive: true, force: true });
    },
  };
}
