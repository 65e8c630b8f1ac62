// Chromium with a page that holds Grafana's front-end libraries and nothing else; it reaches no network.

import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const here = fileURLToPath(new URL(".", import.meta.url));

// @grafana/scenes imports defaults that @grafana/schema of this version does not have; they belong to builders that nobody calls here.
const absentDefaults = {
  name: "absent-defaults",
  setup({ onLoad }) {
    onLoad({ filter: /scenes[\\/]dist[\\/]esm[\\/]core[\\/]PanelBuilders[\\/].*\.js$/ }, ({ path }) => ({
      contents: readFileSync(path, "utf8").replace(
        /import \{ defaultOptions as (defaultOptions\S*) \} from '[^']*TablePanelCfg[^']*';/,
        "const $1 = {};",
      ),
    }));
  },
};

export async function openBrowser() {
  const out = mkdtempSync(join(tmpdir(), "koh-page-"));
  await build({
    entryPoints: [join(here, "page/kit.jsx")],
    outfile: join(out, "kit.js"),
    bundle: true,
    format: "iife",
    jsx: "automatic",
    logLevel: "error",
    define: { "process.env.NODE_ENV": '"production"' },
    loader: { ".svg": "dataurl", ".png": "dataurl", ".woff2": "dataurl", ".ttf": "empty" },
    plugins: [absentDefaults],
  });
  const browser = await chromium.launch({
    executablePath: process.env.KOH_CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
    ],
  });
  const page = await browser.newPage({ viewport: { width: 1600, height: 900 }, timezoneId: "UTC", locale: "en-GB" });
  const problems = [];
  page.on("pageerror", (error) => problems.push(error.message));
  const css = existsSync(join(out, "kit.css")) ? readFileSync(join(out, "kit.css"), "utf8") : "";
  await page.route("**/*", (route) =>
    route.fulfill({
      contentType: "text/html",
      body:
        route.request().resourceType() === "document"
          ? `<!doctype html><meta charset="utf-8"><style>${css}
      body { margin: 0 } .nothing { height: 100%; display: flex; align-items: center; justify-content: center; color: #ccccdc }</style><body></body>`
          : "",
    }),
  );
  await page.goto("http://grafana.example/");
  await page.addScriptTag({ path: join(out, "kit.js") });
  return {
    page,
    problems,
    kit: (name, ...args) => page.evaluate(([n, list]) => window.kit[n](...list), [name, args]),
    async close() {
      await browser.close();
      rmSync(out, { recursive: true, force: true });
    },
  };
}
