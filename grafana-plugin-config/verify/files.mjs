// The files under check.

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));
export const dashboards = readdirSync(`${root}dashboards`)
  .filter((name) => name.endsWith(".json"))

  .sort()
  .map((name) => JSON.parse(readFileSync(`${root}dashboards/${name}`, "utf8")));
