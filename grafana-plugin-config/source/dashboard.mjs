// The frame of a dashboard: variables, annotations, places of panels.

import { CHAIN } from "./columns.mjs";
import { by, DATASOURCE, query, RANGE } from "./panels.mjs";

const VARIABLES = {
  workspace: ["Workspace", "workspaces", "Teams"],
  application: ["Application", "applications", "Applications and dial-tone services of the workspaces"],
  workload: ["Workload", "workloads", "Deployable parts of the applications"],
  environment: ["Environment", "environments", "Environments that the workloads are assigned in"],
  deployment_target: ["Deployment target", "deployment-targets", "Places in the environments"],
  other_environment: ["Compared with", "environments", "Environments to compare with"],
  host: ["Cluster", "hosts", "Clusters, machines and devices that serve the targets"],
  status: ["Status", "statuses", "Last words of reconcilers; null: never reported"],
  version: ["Version", "versions", "Versions of the workloads, the newest first"],
};

/** What a variable's list does not depend on, although it comes before it. */
const APART = { status: CHAIN, other_environment: ["environment"] };

/**
 * A list that depends on the choices before it. `All` stays short in the address: the hub takes * for no filter. Where it is
 * `required` there is no All, and the first one is chosen.
 */
function variable(name, before, required) {
  const [label, path, description] = VARIABLES[name];
  const filters = before.filter((other) => CHAIN.slice(0, 5).includes(other) && !APART[name]?.includes(other));
  const { datasource: _, ...infinityQuery } = {
    ...query(`/api/v1/variables/${path}`, [...by(...filters), ...RANGE], [{ name: "__text" }, { name: "__value" }]),
    refId: "variable",
  };
  return {
    type: "query",
    name,
    label,
    description,
    datasource: DATASOURCE,
    definition: `/api/v1/variables/${path}`,
    query: { refId: "variable", queryType: "infinity", infinityQuery, meta: { textField: "__text", valueField: "__value" } },
    refresh: 2,
    sort: 0,
    regex: "",
    multi: true,
    ...(required ? { includeAll: false } : { includeAll: true, allValue: "*" }),
    allowCustomValue: true,
    hide: 0,
    skipUrlSync: false,
    current: required ? { text: [], value: [] } : { text: ["All"], value: ["$__all"] },
    options: [],
  };
}

function annotations(names) {
  const columns = [
    { name: "time", type: "timestamp" },
    { name: "time_end", as: "timeEnd", type: "timestamp" },
    "title",
    "text",
    "tags",
  ];
  const filters = names.filter((name) => CHAIN.slice(0, 5).includes(name));
  const deployments = (name, kinds, iconColor, enable) => ({
    name,
    datasource: DATASOURCE,
    enable,
    hide: false,
    iconColor,
    target: query(
      "/api/v1/annotations",
      [...by(...filters), { key: "kind", value: kinds }, ...RANGE],
      columns,
      "dataframe",
      "annotation",
    ),
  });
  return [
    deployments("Rollouts", "rollout", "blue", true),
    deployments("Failures and rollbacks", "failure,rollback", "red", true),
    deployments("Verifications", "verification", "purple", false),
  ];
}

/** Panels in rows, from left to right; the height of a row is that of its highest panel. */
function place(rows) {
  let y = 0;
  let id = 0;
  return rows.flatMap((row) => {
    let x = 0;
    const placed = row.map(({ size, ...panel }) => {
      const gridPos = { x, y, w: size.w, h: size.h };
      x += size.w;
      return { id: ++id, ...panel, gridPos };
    });
    y += Math.max(...row.map(({ size }) => size.h));
    return placed;
  });
}

export function dashboard({ uid, title, description, variables = [], required = [], rows, from = "now-24h", events = false }) {
  return {
    uid,
    title,
    description,
    tags: ["kalypso"],
    schemaVersion: 42,
    editable: false,
    graphTooltip: 1,
    timezone: "browser",
    weekStart: "",
    fiscalYearStartMonth: 0,
    liveNow: false,
    preload: false,
    refresh: "1m",
    time: { from, to: "now" },
    timepicker: {},
    links: [
      {
        type: "dashboards",
        title: "Kalypso",
        tags: ["kalypso"],
        asDropdown: true,
        includeVars: true,
        keepTime: true,
        targetBlank: false,
        icon: "external link",
        tooltip: "",
        url: "",
      },
    ],
    templating: { list: variables.map((name, index) => variable(name, variables.slice(0, index), required.includes(name))) },
    annotations: { list: events ? annotations(variables) : [] },
    panels: place(rows),
  };
}
