// What the files must be, whatever a hub says.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { parse, parseAllDocuments } from "yaml";
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

test("the datasource is the one that dashboards mean, and a wrong token fails its check", () => {
  const [source] = parse(readFileSync(`${root}provisioning/datasources/kalypso.yaml`, "utf8")).datasources;
  assert.deepEqual([source.uid, source.type, source.access], ["kalypso-hub", "yesoreyeram-infinity-datasource", "proxy"]);
  assert.deepEqual([source.jsonData.allowedHosts, source.jsonData.auth_method], [[source.url], "bearerToken"]);
  assert.equal(source.jsonData.customHealthCheckUrl, `${source.url}/api/v1/health/grafana`);
  assert.ok(source.jsonData.customHealthCheckEnabled && source.secureJsonData.bearerToken);
});

test("manifests name the dashboards that there are", () => {
  const names = dashboards.map((d) => d.uid).sort();
  const maps = parse(readFileSync(`${root}dashboards/kustomization.yaml`, "utf8")).configMapGenerator;
  assert.deepEqual(maps.map((m) => m.name).sort(), names);
  const resources = parseAllDocuments(readFileSync(`${root}k8s/operator/kalypso.yaml`, "utf8")).map((d) => d.toJS());
  const wanted = resources.filter((r) => r.kind === "GrafanaDashboard").map((r) => r.spec.configMapRef);
  assert.deepEqual(wanted.map((w) => w.name).sort(), names);
  assert.ok(wanted.every((w) => w.key === `${w.name}.json`));
  const secret = parse(readFileSync(`${root}k8s/sidecar/datasource.yaml`, "utf8"));
  assert.equal(secret.stringData["kalypso.yaml"], readFileSync(`${root}provisioning/datasources/kalypso.yaml`, "utf8"));
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
    d.panels[1].fieldConfig.overrides[1].properties.find((p) => p.id === "links").value[0].url =
      "/d/nowhere?${__url_time_range}";
  },
  "an unencoded link": (d) => {
    const link = d.panels[1].fieldConfig.overrides[1].properties.find((p) => p.id === "links").value[0];
    link.url = link.url.replace(":percentencode", "");
  },
  "a link that any text can make": (d) => {
    const link = d.panels[1].fieldConfig.overrides[1].properties.find((p) => p.id === "links").value[0];
    link.url = "${__data.fields.contact:raw}";
  },
  "a second query": (d) => {
    d.panels[1].targets.push({ ...d.panels[1].targets[0], refId: "B" });
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
