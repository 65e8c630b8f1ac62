// What the files must be, whatever a hub says.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { dashboards, root } from "./files.mjs";
import { lintProblems } from "./lint.mjs";
import { shapeProblems } from "./schema.mjs";

test("the committed files are what their source says", () => {
  execFileSync(process.execPath, [`${root}generate.mjs`, "--check"], { stdio: "inherit" });
});

test("dashboards follow the rules", () => {
  assert.deepEqual(
    dashboards.flatMap((d) => lintProblems(d, dashboards)),
    [],
  );
});

test("dashboards have the shapes of Grafana's types, and nothing else", () => {
  assert.deepEqual(dashboards.flatMap(shapeProblems), []);
});

/** Mistakes planted into a good dashboard: a check that finds nothing proves nothing. */
const PLANTED = {
  "an option that does not exist": (d) => {
    d.panels[1].options.showHeaders = true;
  },
  "a cell type that does not exist": (d) => {
    d.panels[1].fieldConfig.overrides[7].properties.find((p) => p.id === "custom.cellOptions").value.type = "colour";
  },
  "a key that does not exist": (d) => {
    d.titel = "x";
  },
  "a query in the browser": (d) => {
    d.panels[1].targets[0].parser = "simple";
  },
  "an untyped column": (d) => {
    delete d.panels[1].targets[0].columns[0].type;
  },
  "a quoted variable": (d) => {
    d.panels[1].targets[0].url_options.params[0].value = "'$workspace'";
  },
  "an override of nothing": (d) => {
    d.panels[1].fieldConfig.overrides[0].matcher.options = "clusters";
  },
  "a column without a place": (d) => {
    delete d.panels[1].transformations[0].options.indexByName.status;
  },
  "a link to nowhere": (d) => {
    d.panels[1].fieldConfig.overrides[1].properties.find((p) => p.id === "links").value[0].url = "/d/nowhere?${__url_time_range}";
  },
  "an unencoded link": (d) => {
    const link = d.panels[1].fieldConfig.overrides[1].properties.find((p) => p.id === "links").value[0];
    link.url = link.url.replace(":percentencode", "");
  },
  "panels over each other": (d) => {
    d.panels[1].gridPos.y -= 1;
  },
  "a sort by nothing": (d) => {
    d.panels[1].options.sortBy[0].displayName = "environment";
  },
};
for (const [name, plant] of Object.entries(PLANTED)) {
  test(`${name} is found`, () => {
    const bad = structuredClone(dashboards.find((d) => d.uid === "kalypso-deployments"));
    plant(bad);
    assert.notDeepEqual([...lintProblems(bad, dashboards), ...shapeProblems(bad)], []);
  });
}
