#!/usr/bin/env node
// Writes dashboards/ and k8s/ from source/. `--check` writes nothing and fails when they differ from what is committed.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { DASHBOARDS } from "./source/dashboards/all.mjs";
import { manifests } from "./source/kubernetes.mjs";

const root = fileURLToPath(new URL(".", import.meta.url));
const read = (path) => {
  try {
    return readFileSync(root + path, "utf8");
  } catch {
    return "";
  }
};

const files = Object.fromEntries(DASHBOARDS.map((d) => [`dashboards/${d.uid}.json`, JSON.stringify(d, null, 2) + "\n"]));
Object.assign(files, manifests(DASHBOARDS, read));

const check = process.argv.includes("--check");
const stale = Object.entries(files)
  .filter(([path, text]) => read(path) !== text)
  .map(([path]) => path);
if (check) {
  for (const path of stale) console.error(`${path} is not what its source says: run node generate.mjs`);
  process.exit(stale.length ? 1 : 0);
}
for (const path of stale) {
  mkdirSync(root + path.slice(0, path.lastIndexOf("/")), { recursive: true });
  writeFileSync(root + path, files[path]);
  console.log(`wrote ${path}`);
}
