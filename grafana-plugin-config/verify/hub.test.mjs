// The dashboards against real hubs: Grafana's own code replaces variables, transforms and formats; requests go over HTTP; the plugin's
// part in between is `frames.mjs`. KOH_PICTURES=1 also writes images/, KOH_BLESS=1 the golden requests.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { openBrowser } from "./browser.mjs";
import { dashboards, root } from "./files.mjs";
import { FIXTURES, HOSTILE } from "./fixtures.mjs";
import { alertInstances, frameOf, rowsOf, toFields } from "./frames.mjs";
import { startHub } from "./hub.mjs";
import { ask, urlOf } from "./request.mjs";

const dashboard = (name) => dashboards.find((d) => d.uid === `kalypso-${name}`);
const panelOf = (name, title) => dashboard(name).panels.find((p) => p.title === title);

let browser;
before(async () => {
  browser = await openBrowser();
});
after(async () => {
  await browser?.close();
});

async function withHub(fixture, check) {
  const world = FIXTURES[fixture]();
  const hub = await startHub(...world.options);
  try {
    await world.into(hub);
    await check(hub.url);
  } finally {
    await hub.stop();
  }
}

/** The frames that a panel of the open dashboard gets, one for each query. */
async function framesOf(hub, panel) {
  const frames = [];
  for (const target of await browser.kit("targets", panel.targets)) frames.push(frameOf(target, await ask(hub, target)));
  return frames;
}

/** The columns of a panel as shown, by title. */
async function shown(hub, panel) {
  const columns = await browser.kit("cells", panel, await framesOf(hub, panel));
  return Object.assign(columns, {
    row: (at) => Object.fromEntries(columns.map((c) => [c.title, c.cells[at].text])),
    at: (title) => columns.find((c) => c.title === title),
  });
}

/** The address of the links of a column, before anything is replaced. */
const template = (panel, column) =>
  panel.fieldConfig.overrides
    .filter((o) => o.matcher.options === column.name)
    .flatMap((o) => o.properties.filter((p) => p.id === "links").flatMap((p) => p.value.map(({ url }) => url)))
    .join(" ");

/** What must hold for every panel, whatever the hub knows. */
async function sound(hub, board, panel) {
  const where = `${board.uid} '${panel.title}'`;
  const columns = await shown(hub, panel);
  const overrides = Object.fromEntries(
    panel.fieldConfig.overrides.map((o) => [o.matcher.options, Object.fromEntries(o.properties.map((p) => [p.id, p.value]))]),
  );
  const organize = panel.transformations.find((t) => t.id === "organize");
  if (organize && columns.length) {
    const wanted = Object.entries(organize.options.indexByName)
      .sort(([, a], [, b]) => a - b)
      .map(([name]) => overrides[name].displayName);
    assert.deepEqual(
      columns.map((c) => c.title),
      wanted,
      `${where}: columns in order, with their titles`,
    );
  }
  if (["timeseries", "state-timeline"].includes(panel.type) && columns.length) {
    assert.equal(columns[0].type, "time", where);
    for (const column of columns.slice(1)) {
      assert.equal(column.type, "number", `${where}: the answer became wide`);
      assert.ok(!column.title.includes("${__field"), `${where}: the name of a line, ${column.title}`);
    }
  }
  if (panel.type === "nodeGraph") {
    // Without a column `id` in both, or with an edge that leads nowhere, the panel is an error.
    const [ids, edges] = columns.filter((c) => c.name === "id").map((c) => c.cells.map((cell) => cell.value));
    assert.ok(edges.length > 0 && new Set(ids).size === ids.length, `${where}: nodes have ids of their own`);
    for (const end of ["source", "target"])
      for (const cell of columns.find((c) => c.name === end).cells)
        assert.ok(ids.includes(cell.value), `${where}: an edge's ${end} is ${cell.value}, which is no node`);
  }
  for (const column of columns) {
    if (/^(source_)?commit$|^pull_request$/.test(column.name)) {
      const pages = columns.find((c) => c.name === `${column.name}_url`);
      assert.ok(pages, `${where}: ${column.title} leads to no page`);
      assert.deepEqual(
        column.cells.map((cell) => cell.links.filter(Boolean)),
        pages.cells.map((cell) => (cell.value ? [cell.value] : [])),
        `${where}: ${column.title} leads to its page, and nowhere where it has none`,
      );
    }
    const mappings = overrides[column.name]?.mappings ?? [];
    const words = mappings.find((m) => m.type === "value")?.options;
    for (const [at, cell] of column.cells.entries()) {
      assert.doesNotMatch(cell.text, /^(null|undefined|NaN|Invalid date)$/, `${where}: ${column.title} shows ${cell.text}`);
      assert.doesNotMatch(cell.text, /^\d(\.\d+)?e\+\d\d$/, `${where}: ${column.title} was a number and became text`);
      if (words && cell.value !== null)
        assert.ok(String(cell.value) in words, `${where}: ${column.title} has the word ${cell.value} without a mapping`);
      for (const href of cell.links.filter((to) => to.startsWith("/d/") && template(panel, column).includes("__data"))) {
        // A variable that a link sets is a value of the same row as it is, not as it is shown; what is absent chooses All.
        const row = columns.map((c) => (c.cells[at]?.value === null ? "$__all" : String(c.cells[at]?.value)));
        for (const [key, value] of new URL(href, "http://grafana.example").searchParams)
          if (key.startsWith("var-") && !template(panel, column).includes(`${key}=${value}&`))
            assert.ok(row.includes(value), `${where}: link of ${column.title} sets ${key} to ${value}, of ${row}`);
      }
      for (const href of cell.links) assert.doesNotMatch(href, /\$\{|\s/, `${where}: link ${href}`);
    }
  }
  return columns;
}

for (const fixture of Object.keys(FIXTURES)) {
  test(`every panel, variable and annotation, for All and for nothing chosen: ${fixture}`, async () => {
    await withHub(fixture, async (hub) => {
      for (const board of dashboards) {
        const nothing = Object.fromEntries(board.templating.list.map((v) => [v.name, [""]]));
        for (const values of ["empty", "fleet"].includes(fixture) ? [{}, nothing] : [{}]) {
          await browser.kit("open", board, { values });
          for (const panel of board.panels) {
            const columns = await sound(hub, board, panel);
            if (fixture === "empty" && panel.type === "table" && board.uid !== "kalypso-hub")
              assert.equal(columns.length, 0, panel.title);
          }
          for (const variable of board.templating.list) {
            const [target] = await browser.kit("targets", [variable.query.infinityQuery]);
            const fields = toFields(rowsOf(await ask(hub, target)), target.columns);
            assert.deepEqual(
              fields.map((f) => f.name),
              ["__text", "__value"],
              `${board.uid}: a list that is empty breaks variable ${variable.name}`,
            );
          }
          for (const { target: annotation, name } of board.annotations.list) {
            const [target] = await browser.kit("targets", [annotation]);
            const fields = toFields(rowsOf(await ask(hub, target)), target.columns);
            if (fields.length)
              assert.ok(
                fields.find((f) => f.name === "time").values.every((v) => v !== null),
                name,
              );
          }
        }
      }
    });
  });
}

test("one host in step: the words and colours of its row", async () => {
  await withHub("one", async (hub) => {
    await browser.kit("open", dashboard("deployments"), {});
    const columns = await shown(hub, panelOf("deployments", "Environments state"));
    const { "Last report": reported, Silent, Contact, status_word: word, ...row } = columns.row(0);
    assert.deepEqual(row, {
      Workspace: "team",
      Application: "shop",
      Environment: "prod",
      Workload: "web",
      Target: "cloud",
      Scheduled: "1.0.0",
      Deployed: "1.0.0",
      Status: "success",
      Clusters: "1",
    });
    assert.match(reported, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/);
    assert.equal(columns.at("Status").cells[0].color, "#73BF69");
    assert.match(
      columns.at("Clusters").cells[0].links[0],
      /^\/d\/kalypso-cluster\?var-workspace=team&var-application=shop&var-workload=web&var-environment=prod&var-deployment_target=cloud&var-status=success&from=now-24h&to=now(&|$)/,
    );
  });
});

describe("a fleet after a failed rollout", () => {
  test("states, drift and history say so", async () => {
    await withHub("fleet", async (hub) => {
      await browser.kit("open", dashboard("deployments"), { values: { environment: ["prod"], workload: ["web"] } });
      const state = await shown(hub, panelOf("deployments", "Environments state"));
      const rows = state
        .at("Status")
        .cells.map((cell, at) => [
          state.at("Deployed").cells[at].text,
          cell.text,
          state.at("Clusters").cells[at].text,
          cell.color,
        ]);
      assert.deepEqual(rows.sort(), [
        ["1.2.0", "failure", "3", "#F2495C"],
        ["1.2.0", "in progress", "4", "#5794F2"],
        ["1.2.0", "success", "7", "#73BF69"],
      ]);

      await browser.kit("open", dashboard("fleet"), {});
      const failures = await shown(hub, panelOf("fleet", "Failures"));
      assert.deepEqual(
        failures
          .at("Cluster")
          .cells.map((c) => c.text)
          .sort(),
        ["prod-aks-08", "prod-aks-09", "prod-aks-10"],
      );
      const silence = await shown(hub, panelOf("fleet", "Silence"));
      assert.deepEqual(
        silence
          .at("Cluster")
          .cells.map((c) => c.text)
          .sort(),
        ["prod-aks-13", "prod-aks-14"],
      );
      const drift = await shown(hub, panelOf("fleet", "Drift"));
      const missing = drift.at("Drift").cells.findIndex((c) => c.value === "missing");
      assert.deepEqual(
        [drift.at("Cluster").cells[missing].text, drift.at("Reconciler").cells[missing].text],
        ["prod-aks-15", "–"],
      );

      await browser.kit("open", dashboard("rollout"), {
        values: { environment: ["prod"], workload: ["web"], version: ["1.2.0"] },
      });
      const rollouts = await shown(hub, panelOf("rollout", "Rollouts"));
      assert.deepEqual(
        rollouts.at("Verdict").cells.map((c) => [c.text, c.color]),
        [["failed", "#F2495C"]],
      );
      assert.equal(rollouts.at("Completed").cells[0].text, "–");
    });
  });

  test("commits and pull requests lead to the pages of their forges", async () => {
    await withHub("fleet", async (hub) => {
      await browser.kit("open", dashboard("application"), { range: { from: "now-7d", to: "now" } });
      const history = await shown(hub, panelOf("application", "History of the application"));
      const pages = (title) =>
        Object.fromEntries(
          history.at("Workload").cells.map((c, at) => [
            c.text,
            history
              .at(title)
              .cells[at].links.join()
              .replace(/[0-9a-f]{40}$/, "…"),
          ]),
        );
      assert.deepEqual(pages("Source commit"), {
        web: "https://github.com/contoso/web/commit/…",
        cart: "https://dev.azure.com/contoso/Shop%20Floor/_git/cart/commit/…",
        telemetry: "https://gitlab.contoso.example/platform/telemetry/-/commit/…",
      });
      assert.equal(pages("GitOps commit").cart, "https://github.com/contoso/cart-gitops/commit/…");
      assert.match(pages("Pull request").web, /^https:\/\/github\.com\/contoso\/web-gitops\/pull\/\d+$/);
      assert.match(history.at("Source commit").cells[0].text, /^[0-9a-f]{12}$/);
    });
  });

  test("two environments differ where other versions are scheduled", async () => {
    await withHub("fleet", async (hub) => {
      const differences = async (environment, other) => {
        await browser.kit("open", dashboard("compare"), {
          values: { environment: [environment], other_environment: [other] },
        });
        const columns = await shown(hub, panelOf("compare", "What differs"));
        const told = ["Workload", "Difference", "Scheduled", "Scheduled there", "Deployed there"];
        return columns.at("Workload").cells.map((_, at) => told.map((title) => columns.at(title).cells[at].text).join(" "));
      };
      assert.deepEqual(await differences("stage", "prod"), ["telemetry scheduled 0.9.1 0.9.0 0.9.1"]);
      assert.deepEqual((await differences("dev", "stage")).sort(), [
        "cart scheduled 3.5.0 3.4.0 3.4.0",
        "web scheduled 1.3.0 1.2.0 1.2.0",
      ]);
      const same = await shown(hub, panelOf("compare", "What is the same"));
      assert.deepEqual(
        same.at("Workload").cells.map((c) => c.text),
        ["telemetry"],
      );
    });
  });

  test("a graph leads to those who fail, and a timeline tells since when", async () => {
    await withHub("fleet", async (hub) => {
      await browser.kit("open", dashboard("application"), { values: { workload: ["web"], environment: ["prod"] } });
      const graph = await shown(hub, panelOf("application", "Who serves what"));
      const nodes = Object.fromEntries(
        ["title", "mainstat", "secondarystat", "arc__failing"].map((name) => [name, graph.find((c) => c.name === name).cells]),
      );
      const failing = nodes.title.findIndex((c) => c.text === "prod-aks-09");
      assert.deepEqual(
        [
          nodes.mainstat[failing].text,
          nodes.secondarystat[failing].text,
          nodes.arc__failing[failing].value,
          nodes.arc__failing[failing].color,
        ],
        ["failing", "1.2.0", 1, "#F2495C"],
      );
      assert.ok(
        nodes.title[failing].links.some(
          (href) => href.startsWith("/d/kalypso-cluster?") && href.includes("var-host=prod-aks-09&"),
        ),
      );
      assert.deepEqual([nodes.title[0].text, nodes.secondarystat[0].text], ["web", "7 of 15 in sync"]);

      await browser.kit("open", dashboard("cluster"), { values: { host: ["prod-aks-09"] } });
      const timeline = panelOf("cluster", "Statuses over time");
      const lanes = await shown(hub, timeline);
      const told = lanes.at("prod-aks-09 web-cloud").cells.filter((c) => c.value !== null);
      assert.deepEqual(
        told.slice(-3).map((c) => [c.text, c.color]),
        [
          ["success", "#73BF69"],
          ["in progress", "#5794F2"],
          ["failure", "#F2495C"],
        ],
      );
      await browser.kit("draw", dashboard("cluster"), [timeline], [await framesOf(hub, timeline)], 1600);
      await browser.page.waitForSelector("svg rect");
      const drawn = await browser.page.evaluate(() =>
        [...document.querySelectorAll("svg rect")].map((bar) => [bar.getAttribute("fill"), Number(bar.getAttribute("width"))]),
      );
      assert.ok(drawn.every(([, width]) => width >= 1) && drawn.some(([color]) => color === "#F2495C"));
      assert.deepEqual(browser.problems, []);
    });
  });

  test("the time range is honoured", async () => {
    await withHub("fleet", async (hub) => {
      const panel = panelOf("environment", "Environment history");
      const count = async (range) => {
        await browser.kit("open", dashboard("environment"), { range });
        return (await shown(hub, panel)).at("Version")?.cells.length ?? 0;
      };
      assert.equal(await count({ from: "now-400d", to: "now-300d" }), 0);
      const [hours, days] = [await count({ from: "now-3h", to: "now" }), await count({ from: "now-2d", to: "now" })];
      assert.ok(0 < hours && hours < days, `${hours} rows of three hours, ${days} of two days`);
    });
  });
});

test("names that break what is not quoted are chosen, linked and found again", async () => {
  await withHub("hostile", async (hub) => {
    const prefix = {
      workspace: "ws ",
      application: "app ",
      workload: "",
      environment: "env ",
      deployment_target: "target ",
      host: "host ",
    };
    const state = panelOf("deployments", "Environments state");
    for (const name of HOSTILE) {
      const values = Object.fromEntries(Object.entries(prefix).map(([variable, before]) => [variable, [before + name]]));
      for (const board of dashboards) {
        await browser.kit("open", board, { values });
        for (const panel of board.panels) await sound(hub, board, panel);
      }
      await browser.kit("open", dashboard("deployments"), { values });
      const columns = await shown(hub, state);
      assert.deepEqual(
        columns.at("Workload").cells.map((c) => c.text),
        [name],
      );

      for (const column of columns) {
        for (const href of column.cells[0].links) {
          const board = dashboards.find((d) => d.uid === href.match(/^\/d\/([^?]+)/)[1]);
          await browser.kit("open", board, { href });
          const panel = board.panels.find((p) => p.targets[0].columns.some((c) => c.text === "workload") && p.type === "table");
          const there = await shown(hub, panel);
          for (const [key, value] of new URL(href, "http://grafana.example").searchParams) {
            const at = there.find((c) => `var-${c.name}` === key);
            if (at)
              assert.deepEqual([...new Set(at.cells.map((c) => c.value))], [value], `${href}: ${board.uid} '${panel.title}'`);
          }
        }
      }
    }
    await browser.kit("open", dashboard("deployments"), {});
    const height = await browser.kit("draw", dashboard("deployments"), [state], [await framesOf(hub, state)], 1600);
    assert.ok(height > 100);
    await browser.page.waitForSelector("[role=grid] a");
    const drawn = await browser.page.evaluate(() => document.body.innerText);
    for (const name of HOSTILE) assert.ok(drawn.includes(name), `${name} is drawn as it is`);
    assert.deepEqual(browser.problems, []);
  });
});

test("three hundred targets are shown whole", async () => {
  await withHub("large", async (hub) => {
    await browser.kit("open", dashboard("deployments"), {});
    const columns = await shown(hub, panelOf("deployments", "Environments state"));
    assert.equal(columns.at("Workload").cells.length, 300);
    assert.ok(columns.at("Scheduled").cells.every((c) => c.text.startsWith("1234567.")));
  });
});

test("requests are the golden ones", async () => {
  const lines = [];
  for (const board of dashboards) {
    const values = Object.fromEntries(board.templating.list.map((v, at) => [v.name, [HOSTILE[at % HOSTILE.length], "plain"]]));
    await browser.kit("open", board, { values, range: { from: "2026-01-31T00:00:00Z", to: "2026-02-01T00:00:00Z" } });
    const targets = [
      ...board.panels.flatMap((p) => p.targets),
      ...board.templating.list.map((v) => v.query.infinityQuery),
      ...board.annotations.list.map((a) => a.target),
    ];
    for (const target of await browser.kit("targets", targets)) lines.push(`${board.uid} ${urlOf("", target)}`);
  }
  const path = `${root}verify/requests.txt`;
  const text = [...new Set(lines)].join("\n") + "\n";
  if (process.env.KOH_BLESS) writeFileSync(path, text);
  assert.equal(text, readFileSync(path, "utf8"));
});

const ALERTS = ["failed-rollouts", "stalled-rollouts", "drift", "silent-hosts", "unknown-commits", "promotion-lag", "hub"];
for (const [fixture, firing] of [
  ["one", []],
  ["fleet", ["failed-rollouts", "silent-hosts"]],
]) {
  test(`alert answers are instances with labels of their own: ${fixture}`, async () => {
    await withHub(fixture, async (hub) => {
      const fires = [];
      for (const name of ALERTS) {
        const answer = await fetch(`${hub}/api/v1/alerts/${name}`);
        assert.equal(answer.status, 200, name);
        const instances = alertInstances(toFields(rowsOf(await answer.text())));
        assert.ok(instances.length >= 1, `${name}: no row is no data`);
        if (instances.some(({ value }) => value > 0)) fires.push(name);
      }
      for (const name of firing) assert.ok(fires.includes(name), `${name} fires`);
      if (fixture === "one") assert.deepEqual(fires, []);
    });
  });
}

/** What is chosen in the pictures: dashboards about something show that. */
const PICTURED = {
  "kalypso-application": { application: ["shop"] },
  "kalypso-compare": { environment: ["stage"], other_environment: ["prod"] },
  "kalypso-environment": { environment: ["prod"] },
  "kalypso-rollout": { workload: ["web"] },
  "kalypso-cluster": { host: ["prod-aks-01", "prod-aks-09", "prod-aks-12", "prod-aks-13", "prod-aks-15"] },
};

test("pictures", { skip: !process.env.KOH_PICTURES && "KOH_PICTURES=1 writes them" }, async () => {
  mkdirSync(`${root}images`, { recursive: true });
  await withHub("fleet", async (hub) => {
    for (const board of dashboards) {
      await browser.kit("open", board, {
        values: PICTURED[board.uid],
        range: board.uid === "kalypso-promotion" ? undefined : { from: "now-24h", to: "now" },
      });
      const frames = await Promise.all(board.panels.map((panel) => framesOf(hub, panel)));
      const height = await browser.kit("draw", board, board.panels, frames, 1600);
      await browser.page.setViewportSize({ width: 1600, height: Math.ceil(height) });
      await browser.page.waitForTimeout(1000);
      await browser.page.screenshot({ path: `${root}images/${board.uid}.png` });
    }
  });
});
