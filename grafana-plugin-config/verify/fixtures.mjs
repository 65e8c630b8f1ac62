// What the hub is told before dashboards ask it: from nothing to a fleet after a failed rollout.

import { createHash } from "node:crypto";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const NOW = Date.now();
const ago = (ms) => new Date(NOW - ms).toISOString();

/** A commit as good as any, the same for the same words. */
const commit = (...words) => createHash("sha1").update(words.join("/")).digest("hex");

const manifests = (t) => ({ repo: `https://github.com/contoso/${t.slug}-gitops`, branch: t.branch, path: t.path });

class World {
  descriptors = [];
  hosts = [];
  reports = [];
  verifications = [];
  options = [];
  silent = 0;

  target(workspace, application, workload, environment, target) {
    const plain = (text) => text.replace(/[^A-Za-z0-9.-]/g, (c) => `u${c.codePointAt(0).toString(16)}`);
    return {
      workspace,
      application,
      workload,
      environment,
      deployment_target: target,
      slug: plain(workload),
      branch: plain(environment),
      path: plain(target),
    };
  }

  wants(t, version, at, more = {}) {
    const id = commit(t.workload, t.environment, t.deployment_target, version);
    this.descriptors.push({
      workspace: t.workspace,
      application: t.application,
      workload: t.workload,
      environment: t.environment,
      deployment_target: t.deployment_target,
      version,
      manifests: manifests(t),
      gitops_revision: `${t.branch}@sha1:${id}`,
      observed_at: ago(at),
      author: "Ada",
      source: { repo: t.source ?? `https://github.com/contoso/${t.slug}`, branch: "main", path: "." },
      pull_request: `https://github.com/contoso/${t.slug}-gitops/pull/${version.replaceAll(".", "")}`,
      source_commit: commit(t.workload, version),
      build: `build-${version}`,
      contact: "team@contoso.example",
      ...more,
    });
    return id;
  }

  host(name, labels, expects = [], heard = 0) {
    this.hosts.push({
      name,
      host_type: labels.cluster_type ?? "aks",
      labels,
      contact: "operations@contoso.example",
      reported_at: ago(heard),
      expects: expects.map((t) => ({
        workload: t.workload,
        environment: t.environment,
        deployment_target: t.deployment_target,
      })),
    });
  }

  says(host, t, version, status, at, message = "") {
    this.reports.push({
      host,
      reconciler: `${t.workload}-${t.deployment_target}`,
      reconciler_type: "flux",
      status,
      manifests: manifests(t),
      raw_status: status,
      commit: commit(t.workload, t.environment, t.deployment_target, version),
      message,
      reported_at: ago(at),
    });
  }

  async into(hub) {
    for (const [path, rows] of [
      ["descriptors", this.descriptors],
      ["hosts", this.hosts],
      ["reconcilers", this.reports],
    ]) {
      rows.sort((a, b) => (a.observed_at ?? a.reported_at).localeCompare(b.observed_at ?? b.reported_at));
      for (let at = 0; at < rows.length; at += 400) await hub.push(path, rows.slice(at, at + 400));
    }
    for (const v of this.verifications) await hub.post("/api/v1/rollouts/verifications", v);
    const deadline = Date.now() + 20_000;
    for (;;) {
      const hosts = await (await fetch(`${hub.url}/api/v1/hosts?liveness=silent&fresh=true`)).json();
      if (hosts.length === this.silent) return;
      if (Date.now() > deadline) throw new Error(`${hosts.length} hosts are silent, not ${this.silent}`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}

function one() {
  const w = new World();
  const t = w.target("team", "shop", "web", "prod", "cloud");
  w.wants(t, "1.0.0", 3 * HOUR);
  w.host("aks-1", { cluster_type: "aks", ring: "0", region: "westeurope" }, [t]);
  w.says("aks-1", t, "1.0.0", "success", 2 * HOUR);
  return w;
}

/** Three environments; 1.2.0 of the web shop was complete in dev and stage and failed in prod. */
function fleet() {
  const w = new World();
  // A hub does not hold silence against a host that is older than itself, so here seconds do it, and who lives spoke a little ahead.
  w.options = ["--late-after", "1s", "--silent-after", "2s"];
  w.silent = 2;
  const regions = ["westeurope", "northeurope", "eastus"];
  const size = { dev: 3, stage: 6, prod: 14 };
  const plan = {
    "web/cloud": {
      dev: [
        ["1.0.0", 20],
        ["1.1.0", 12],
        ["1.2.0", 6],
        ["1.3.0", 0.6],
      ],
      stage: [
        ["1.0.0", 19],
        ["1.1.0", 10],
        ["1.2.0", 5],
      ],
      prod: [
        ["1.0.0", 18],
        ["1.1.0", 8],
        ["1.2.0", 2],
      ],
    },
    "cart/cloud": {
      dev: [
        ["3.4.0", 21],
        ["3.5.0", 9],
      ],
      stage: [["3.4.0", 16]],
      prod: [["3.4.0", 14]],
    },
    "telemetry/edge": {
      dev: [["0.9.1", 22]],
      stage: [["0.9.1", 20]],
      prod: [
        ["0.9.0", 23],
        ["0.9.1", 17],
        ["0.9.0", 4],
      ],
    },
  };
  const place = { web: ["team-a", "shop"], cart: ["team-a", "shop"], telemetry: ["platform", "telemetry"] };
  const forges = {
    cart: "https://dev.azure.com/contoso/Shop%20Floor/_git/cart",
    telemetry: "git@gitlab.contoso.example:platform/telemetry.git",
  };
  const expects = {};
  const targets = {};
  for (const [key, environments] of Object.entries(plan)) {
    const [workload, name] = key.split("/");
    for (const [environment, versions] of Object.entries(environments)) {
      const t = w.target(...place[workload], workload, environment, name);
      t.source = forges[workload];
      targets[`${environment}/${workload}`] = t;
      (expects[environment] ??= []).push(t);
      versions.forEach(([version, hours], back) =>
        w.wants(
          t,
          version,
          hours * HOUR,
          versions.findIndex(([v]) => v === version) < back
            ? { gitops_revision: `${t.branch}@sha1:${commit(workload, environment, "back", version)}` }
            : {},
        ),
      );
      for (let n = 1; n <= size[environment]; n += 1) {
        const host = `${environment}-${workload === "telemetry" ? "store" : "aks"}-${String(n).padStart(2, "0")}`;
        versions.forEach(([version, hours], index) => {
          if (index > 0 && versions.findIndex(([v]) => v === version) < index) return;
          const start = hours * HOUR - (3 + 4 * n) * MINUTE;
          if (start < MINUTE) return;
          const last = index === versions.length - 1;
          const failed = environment === "prod" && workload === "web" && last;
          w.says(host, t, version, "in_progress", start);
          if (failed && n >= 11) return;
          if (failed && n >= 8)
            return w.says(
              host,
              t,
              version,
              "failure",
              start - 2 * MINUTE,
              "health check failed after 5m0s: timeout waiting for: [Deployment/web/web status: 'InProgress']",
            );
          w.says(host, t, version, "success", start - 2 * MINUTE, "Applied revision");
        });
      }
    }
  }
  for (const [environment, count] of Object.entries(size)) {
    for (let n = 1; n <= count; n += 1) {
      const number = String(n).padStart(2, "0");
      const silent = environment === "prod" && n > 12;
      const [t, c, e] = ["web", "cart", "telemetry"].map((workload) => targets[`${environment}/${workload}`]);
      w.host(
        `${environment}-aks-${number}`,
        { cluster_type: "aks", ring: String(n % 3), region: regions[n % 3] },
        [t, c],
        silent ? 100 * MINUTE : -4 * MINUTE,
      );
      w.host(
        `${environment}-store-${number}`,
        { cluster_type: "k3s", ring: String(n % 3), region: regions[n % 3] },
        [e],
        -4 * MINUTE,
      );
    }
  }
  w.host("prod-aks-15", { cluster_type: "aks", ring: "2", region: "eastus" }, [targets["prod/web"]], -4 * MINUTE);
  const stranger = w.target("team-a", "shop", "legacy", "prod", "cloud");
  w.says("prod-aks-01", stranger, "0.1.0", "success", 5 * HOUR);
  for (const [environment, result, at] of [
    ["stage", "passed", 4],
    ["prod", "failed", 1],
  ]) {
    w.verifications.push({
      name: "smoke",
      result,
      workload: "web",
      environment,
      version: "1.2.0",
      reported_by: "nightly",
      link: "https://ci.example/runs/7",
      message: `smoke ${result}`,
      reported_at: ago(at * HOUR),
    });
  }
  return w;
}

/** Names that break what is not quoted. */
export const HOSTILE = [
  'O\'Brien & "Söhne"',
  "x'; drop table t;--",
  "$HOME ${host} $__from",
  "日本語 100% +1",
  "{a,b}",
  "a,b",
  '["x"]',
  "a/b?c=d#e",
];

function hostile() {
  const w = new World();
  HOSTILE.forEach((name, index) => {
    const t = w.target(`ws ${name}`, `app ${name}`, name, `env ${name}`, `target ${name}`);
    w.wants(t, `1.0.${index}`, 3 * HOUR, {
      pull_request: name,
      source: { repo: `https://git.example/${name}`, branch: name, path: "." },
    });
    w.host(`host ${name}`, { cluster_type: name, ring: name, region: name }, [t]);
    w.says(`host ${name}`, t, `1.0.${index}`, index % 2 ? "failure" : "success", 2 * HOUR, `message ${name}`);
  });
  return w;
}

function large() {
  const w = new World();
  for (let n = 0; n < 300; n += 1) {
    const t = w.target(
      "team",
      `app-${n % 10}`,
      `workload-${String(n).padStart(3, "0")}`,
      ["dev", "stage", "prod"][n % 3],
      "cloud",
    );
    w.wants(t, `1234567.${n}`, 5 * HOUR);
    w.host(`host-${String(n).padStart(3, "0")}`, { cluster_type: "aks" }, [t]);
    w.says(`host-${String(n).padStart(3, "0")}`, t, `1234567.${n}`, n % 7 ? "success" : "failure", 4 * HOUR);
  }
  return w;
}

export const FIXTURES = { empty: () => new World(), one, fleet, hostile, large };
