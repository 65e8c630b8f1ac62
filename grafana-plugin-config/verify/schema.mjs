// Strict shapes: what a type does not name is an error. Derived from Grafana's types; it is not the validator of its server.

import { fileURLToPath } from "node:url";
import Ajv from "ajv";
import { createGenerator } from "ts-json-schema-generator";

const PANELS = { table: "Table", stat: "Stat", timeseries: "Timeseries", "state-timeline": "Timeline", nodeGraph: "Graph" };
const NAMES = [
  "Whole",
  "Query",
  "Cell",
  "TableOptions",
  "TableCustom",
  "StatOptions",
  "TimeseriesOptions",
  "TimeseriesCustom",
  "TimelineOptions",
  "TimelineCustom",
  "GraphOptions",
];
let shapes;

function compile() {
  const generator = createGenerator({
    path: fileURLToPath(new URL("schema.ts", import.meta.url)),
    tsconfig: fileURLToPath(new URL("tsconfig.json", import.meta.url)),
    type: NAMES[0],
    expose: "all",
    skipTypeCheck: true,
    additionalProperties: false,
  });
  const ajv = new Ajv({ strict: false, allErrors: true });
  return Object.fromEntries(
    NAMES.map((name) => {
      const { definitions } = generator.createSchema(name);
      const { shape, query } = definitions[name].properties;
      if (query) {
        if (!definitions.Dataquery) throw new Error("the SDK has no definition of Dataquery");
        definitions.Dataquery = query;
      }
      return [name, ajv.compile({ ...shape, definitions })];
    }),
  );
}

/** Everything about a dashboard that its types do not allow. */
export function shapeProblems(dashboard) {
  shapes ??= compile();
  const problems = [];
  const check = (shape, value, where) => {
    const valid = shapes[shape];
    if (!valid(value))
      problems.push(...valid.errors.map((e) => `${where}${e.instancePath}: ${e.message} ${JSON.stringify(e.params)}`));
  };
  check("Whole", dashboard, dashboard.uid);
  for (const panel of dashboard.panels) {
    const where = `${dashboard.uid} '${panel.title}'`;
    check(`${PANELS[panel.type]}Options`, panel.options, `${where} options`);
    if (panel.fieldConfig.defaults.custom)
      check(`${PANELS[panel.type]}Custom`, panel.fieldConfig.defaults.custom, `${where} custom`);
    for (const { properties } of panel.fieldConfig.overrides) {
      for (const { id, value } of properties) if (id === "custom.cellOptions") check("Cell", value, `${where} override`);
    }
  }
  for (const variable of dashboard.templating.list)
    check("Query", variable.query.infinityQuery, `${dashboard.uid} variable ${variable.name}`);
  return problems;
}
