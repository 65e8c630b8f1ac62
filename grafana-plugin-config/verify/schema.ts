// The shapes that dashboards must have, from the types of Grafana's Foundation SDK. `Dataquery` there is empty; ours stands in its place.

import type * as common from "@grafana/grafana-foundation-sdk/common";
import type * as dashboard from "@grafana/grafana-foundation-sdk/dashboard";
import type * as nodegraph from "@grafana/grafana-foundation-sdk/nodegraph";
import type * as stat from "@grafana/grafana-foundation-sdk/stat";
import type * as statetimeline from "@grafana/grafana-foundation-sdk/statetimeline";
import type * as table from "@grafana/grafana-foundation-sdk/table";
import type * as timeseries from "@grafana/grafana-foundation-sdk/timeseries";

export interface Whole {
  shape: dashboard.Dashboard;
  query: InfinityQuery;
}
export interface Query {
  shape: InfinityQuery;
}
export interface Cell {
  shape: common.TableCellOptions;
}
export interface TableOptions {
  shape: table.Options;
}
export interface TableCustom {
  shape: table.FieldConfig;
}
export interface StatOptions {
  shape: stat.Options;
}
export interface TimeseriesOptions {
  shape: timeseries.Options;
}
export interface TimeseriesCustom {
  shape: timeseries.FieldConfig;
}
export interface TimelineOptions {
  shape: statetimeline.Options;
}
export interface TimelineCustom {
  shape: statetimeline.FieldConfig;
}

export interface GraphOptions {
  shape: nodegraph.Options;
}

interface Pair {
  key: string;
  value: string;
}

interface InfinityQuery {
  refId: string;
  datasource?: { type: "yesoreyeram-infinity-datasource"; uid: "kalypso-hub" };
  type: "json";
  source: "url";
  parser: "backend";
  format: "table" | "timeseries" | "dataframe" | "node-graph-nodes" | "node-graph-edges";
  url: string;
  url_options: { method: "GET"; params: Pair[]; headers: Pair[] };
  root_selector: "";
  columns: { selector: string; text: string; type: "string" | "number" | "boolean" | "timestamp" }[];
  computed_columns: never[];
  filters: never[];
  filterExpression: "";
}
