// Panels of classic dashboards, from as few words as say what is particular about them.

import { CHAIN, COLUMNS } from "./columns.mjs";
import { ALL, called, linked } from "./links.mjs";

export const DATASOURCE = { type: "yesoreyeram-infinity-datasource", uid: "kalypso-hub" };

/** Filters by variables. `:json` keeps commas, quotes and braces of names apart; params are encoded by the plugin. */
export const by = (...names) => names.map((name) => ({ key: name, value: `\${${name}:json}` }));
export const TARGET = by(...CHAIN.slice(0, 5));
export const WORKLOAD = by(...CHAIN.slice(0, 3));
export const RANGE = [
  { key: "from", value: "${__from}" },
  { key: "to", value: "${__to}" },
];
export const is = (key, value) => ({ key, value: String(value) });

function describe(column) {
  const [name, more] = typeof column === "string" ? [column, {}] : [column.name, column];
  return { type: "string", ...COLUMNS[name], name, ...more };
}

/** Columns are named in words; one that differs from its usual self is an object. What a link needs comes along, hidden. */
function listed(columns) {
  const shown = columns.flatMap((column) => (typeof column === "string" ? column.split(" ") : column)).map(describe);
  const names = new Set(shown.map(called));
  const needed = shown.filter(({ needs }) => needs && !names.has(called(needs)) && names.add(called(needs)));
  return [
    ...shown,
    ...needed.map(({ needs }) => ({
      ...needs,
      title: called(needs),
      type: "string",
      hidden: true,
      noValue: needs.noValue ?? "",
    })),
  ];
}
/** One GET; every column typed, for an untyped one is guessed from its first value. */
export function query(url, params, columns, format = "table", refId = "A") {
  return {
    refId,
    datasource: DATASOURCE,
    type: "json",
    source: "url",
    parser: "backend",
    format,
    url,
    url_options: { method: "GET", params, headers: [] },
    root_selector: "",
    columns: listed(columns).map(({ name, as = name, type }) => ({ selector: name, text: as, type })),
    computed_columns: [],
    filters: [],
    filterExpression: "",
  };
}

const steps = (list) => ({ mode: "absolute", steps: list.map(([color, value]) => ({ color, value })) });

function override(column) {
  const {
    name,
    as = name,
    title,
    unit,
    decimals,
    width,
    mappings,
    cell,
    steps: thresholds,
    link,
    noValue = "–",
    hidden,
  } = column;
  const properties = [
    { id: "displayName", value: title ?? name },
    { id: "noValue", value: noValue },
  ];
  const add = (id, value) => value !== undefined && properties.push({ id, value });
  add("unit", unit);
  add("decimals", decimals);
  add("custom.width", width);
  add("mappings", mappings);
  add("custom.cellOptions", cell && { type: cell });
  add("thresholds", thresholds && steps(thresholds));
  add("links", link && [{ title: link[0], url: link[1], targetBlank: link[2] }]);
  if (hidden) {
    add("custom.hideFrom", { viz: true, legend: true, tooltip: true });
    // Grafana 11 knows this one only, and later ones pass over it.
    add("custom.hidden", true);
  }
  return { matcher: { id: "byName", options: as }, properties };
}

/** The backend orders fields by the alphabet, so every table says its order. */
const order = (columns) => ({
  id: "organize",
  options: {
    excludeByName: {},
    includeByName: {},
    renameByName: {},
    indexByName: Object.fromEntries(columns.map(({ name, as = name }, index) => [as, index])),
  },
});

const panel = (type, title, description, more) => ({
  type,
  title,
  description,
  datasource: DATASOURCE,
  transparent: false,
  ...more,
});

/** `absent` names the columns that links are made of and that may be null. */
export function table({ title, description, url, params, columns, absent = [], sort = [], empty, height = 9, width = 24 }) {
  const described = linked(listed(columns), absent);
  return panel("table", title, description, {
    size: { w: width, h: height },
    targets: [query(url, params, described)],
    transformations: [order(described)],
    fieldConfig: {
      defaults: {
        custom: { align: "auto", cellOptions: { type: "auto" }, filterable: true, inspect: false, minWidth: 90 },
        mappings: [],
        thresholds: steps([["text", null]]),
        color: { mode: "thresholds" },
        noValue: empty,
      },
      overrides: described.map(override),
    },
    options: {
      frameIndex: 0,
      showHeader: true,
      cellHeight: "sm",
      sortBy: sort.map(([name, desc = false]) => ({ displayName: described.find((c) => c.name === name).title, desc })),
    },
  });
}

/** Rows by one field, columns by another. */
export function matrix({
  title,
  description,
  url,
  params,
  row,
  column,
  value,
  mappings,
  cell = "auto",
  empty,
  height = 9,
  width = 24,
}) {
  const [rows, columns, values] = [row, column, value].map(describe);
  return panel("table", title, description, {
    size: { w: width, h: height },
    targets: [query(url, params, [row, column, value])],
    transformations: [
      {
        id: "groupingToMatrix",
        options: { columnField: columns.name, rowField: rows.name, valueField: values.name, emptyValue: "null" },
      },
    ],
    fieldConfig: {
      defaults: {
        custom: { align: "auto", cellOptions: { type: cell }, filterable: true, inspect: false, minWidth: 90 },
        mappings,
        thresholds: steps([["text", null]]),
        color: { mode: "thresholds" },
        noValue: empty,
      },
      overrides: [
        {
          matcher: { id: "byName", options: `${rows.name}\\${columns.name}` },
          properties: [
            { id: "displayName", value: rows.title },
            { id: "custom.width", value: rows.width },
            { id: "custom.cellOptions", value: { type: "auto" } },
            { id: "mappings", value: [] },
          ],
        },
      ],
    },
    options: { frameIndex: 0, showHeader: true, cellHeight: "sm", sortBy: [{ displayName: rows.title, desc: false }] },
  });
}

/** One row of numbers, a tile each. */
export function stats({ title, description, url, params, columns, empty, height = 4, width = 24 }) {
  const described = columns.map((column) => ({ type: "number", unit: "none", needs: undefined, ...column }));
  return panel("stat", title, description, {
    size: { w: width, h: height },
    targets: [query(url, params, described)],
    transformations: [order(described)],
    fieldConfig: {
      defaults: { mappings: [], thresholds: steps([["text", null]]), color: { mode: "thresholds" }, noValue: empty },
      overrides: described.map(override),
    },
    options: {
      reduceOptions: { values: false, calcs: ["lastNotNull"], fields: "/.*/" },
      orientation: "auto",
      textMode: "value_and_name",
      wideLayout: true,
      colorMode: "value",
      graphMode: "none",
      justifyMode: "center",
      showPercentChange: false,
      percentChangeColorMode: "standard",
    },
  });
}

/** Nodes and edges, asked for one after the other; `arcs` are the shares of a node's ring and their colours, links are made of `names`. */
export function graph({ title, description, params, nodes, edges, arcs, names, links, empty, height = 16, width = 24 }) {
  const ring = arcs.map(([name, word, color]) => ({
    matcher: { id: "byName", options: `arc__${name}` },
    properties: [
      { id: "displayName", value: word },
      { id: "color", value: { mode: "fixed", fixedColor: color } },
    ],
  }));
  const shares = arcs.map(([name]) => ({ name, as: `arc__${name}`, type: "number" }));
  return panel("nodeGraph", title, description, {
    size: { w: width, h: height },
    targets: [
      query(nodes.url, params, [...nodes.columns, ...names.map((name) => ({ name })), ...shares], "node-graph-nodes", "nodes"),
      query(edges.url, params, edges.columns, "node-graph-edges", "edges"),
    ],
    transformations: [],
    fieldConfig: {
      defaults: { mappings: [], thresholds: steps([["text", null]]), color: { mode: "thresholds" }, noValue: empty },
      overrides: [
        ...ring,
        {
          matcher: { id: "byName", options: "title" },
          properties: [{ id: "links", value: links.map(([name, url]) => ({ title: name, url, targetBlank: false })) }],
        },
        ...names.map((name) => ({ matcher: { id: "byName", options: name }, properties: [{ id: "noValue", value: ALL }] })),
      ],
    },
    options: { zoomMode: "cooperative" },
  });
}

/** A long answer (time, labels, one number) that the backend makes wide: a line for each combination of labels. */
export function lines({
  title,
  description,
  url,
  params,
  labels,
  value,
  name,
  unit = "none",
  stack = false,
  colors = {},
  empty,
  height = 9,
  width = 24,
  bars = false,
}) {
  const columns = ["time", ...labels, { name: value, type: "number" }];
  return panel("timeseries", title, description, {
    size: { w: width, h: height },
    targets: [query(url, [...params, ...RANGE], columns, "timeseries")],
    transformations: [],
    fieldConfig: {
      defaults: {
        displayName: name,
        unit,
        decimals: unit === "none" ? 0 : undefined,
        min: 0,
        noValue: empty,
        mappings: [],
        color: { mode: "palette-classic" },
        thresholds: steps([["green", null]]),
        custom: {
          drawStyle: bars ? "bars" : "line",
          lineInterpolation: "stepAfter",
          lineWidth: 1,
          fillOpacity: stack ? 30 : 5,
          gradientMode: "none",
          showPoints: "never",
          pointSize: 4,
          spanNulls: false,
          axisPlacement: "auto",
          axisLabel: "",
          axisColorMode: "text",
          scaleDistribution: { type: "linear" },
          stacking: { mode: stack ? "normal" : "none", group: "A" },
          thresholdsStyle: { mode: "off" },
          hideFrom: { viz: false, legend: false, tooltip: false },
          axisCenteredZero: false,
          barAlignment: 0,
          lineStyle: { fill: "solid" },
        },
      },
      overrides: Object.entries(colors).map(([word, color]) => ({
        matcher: { id: "byName", options: word },
        properties: [{ id: "color", value: { mode: "fixed", fixedColor: color } }],
      })),
    },
    options: {
      legend: { displayMode: "list", placement: "bottom", showLegend: true, calcs: [] },
      tooltip: { mode: "multi", sort: "desc", hideZeros: true },
    },
  });
}

/** A lane per combination of labels; a stay begins at `time` and lasts until the next one of its lane. */
export function timeline({ title, description, url, params, labels, value, name, mappings, empty, height = 9, width = 24 }) {
  return panel("state-timeline", title, description, {
    size: { w: width, h: height },
    targets: [query(url, [...params, ...RANGE], ["time", ...labels, { name: value, type: "number" }], "timeseries")],
    transformations: [],
    fieldConfig: {
      defaults: {
        displayName: name,
        mappings,
        color: { mode: "thresholds" },
        thresholds: steps([["text", null]]),
        noValue: empty,
        custom: {
          fillOpacity: 70,
          lineWidth: 0,
          insertNulls: false,
          spanNulls: true,
          hideFrom: { viz: false, legend: false, tooltip: false },
        },
      },
      overrides: [],
    },
    options: {
      showValue: "auto",
      rowHeight: 0.9,
      mergeValues: true,
      alignValue: "left",
      perPage: 20,
      legend: { displayMode: "list", placement: "bottom", showLegend: true, calcs: [] },
      tooltip: { mode: "single", sort: "none", hideZeros: false },
    },
  });
}
