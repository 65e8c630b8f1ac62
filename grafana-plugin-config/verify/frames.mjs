// What the backend of the Infinity datasource (3.11) makes of an answer, rule by rule as it was seen to behave.
// It is a copy of behaviour, not the plugin; `frames.test.mjs` has a test per rule.

/** The error that takes every query of the same request with it. */
export class PluginPanic extends Error {}

/** Rows of an answer: an array, or one object. */
export function rowsOf(text) {
  if (text.trim() === "") throw new Error("empty response body received");
  let parsed;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new Error("unable to parse response body as JSON");
  }
  return Array.isArray(parsed) ? parsed : [parsed];
}

// Numbers that were declared text come out as Go prints a float64.
function goText(number) {
  if (Number.isInteger(number) && Math.abs(number) < 1e6) return String(number);
  if (Math.abs(number) >= 1e6 || (number !== 0 && Math.abs(number) < 1e-4)) {
    const [digits, exponent] = number.toExponential().split("e");
    return `${digits}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
  }
  return String(number);
}

const RFC3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/;

const COERCE = {
  string: (v) => (typeof v === "string" ? v : typeof v === "number" ? goText(v) : JSON.stringify(v)),
  number: (v) =>
    typeof v === "number"
      ? v
      : typeof v === "string" && v.trim() !== "" && (v === "NaN" || !Number.isNaN(Number(v)))
        ? Number(v)
        : null,
  boolean: (v) => (typeof v === "boolean" ? v : v === "true" ? true : v === "false" ? false : null),
  timestamp: (v) => (typeof v === "string" && RFC3339.test(v) ? Date.parse(v) : null),
  timestamp_epoch: (v) => (typeof v === "number" ? v : null),
};
const KIND = { string: "string", number: "number", boolean: "boolean", timestamp: "time", timestamp_epoch: "time" };

function guessed(name, values) {
  const first = values.find((v) => v !== null && v !== undefined);
  const kind =
    first === undefined ? "string" : ({ string: "string", number: "number", boolean: "boolean" }[typeof first] ?? "json");
  const cells = values.map((v) => {
    if (v === null || v === undefined) return kind === "json" ? "null" : null;
    if (kind === "json") return JSON.stringify(v);
    if (typeof v !== kind) throw new PluginPanic(`panic triggered: column ${name} holds a ${typeof v} after a ${kind}`);
    return v;
  });
  return { name, type: kind === "json" ? "string" : kind, values: cells };
}

/** Fields of a table, sorted by name; no rows, no fields - whatever columns were declared. */
export function toFields(rows, columns = []) {
  if (rows.length === 0) return [];
  // All numbers pass through float64: JSON.parse has done that already.
  const fields = columns.length
    ? columns.map(({ selector, text, type }) => {
        const values = rows.map((row) => row[selector] ?? null);
        if (!type) return guessed(text, values);
        return { name: text, type: KIND[type], values: values.map((v) => (v === null ? null : COERCE[type](v))) };
      })
    : [...new Set(rows.flatMap(Object.keys))].map((name) =>
        guessed(
          name,
          rows.map((row) => row[name]),
        ),
      );
  const names = fields.map((f) => f.name);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice) throw new Error(`column ${twice} is declared twice`);
  return fields.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Long to wide, as format `timeseries` asks for: one field per combination of labels. Stays a table where it cannot be done. */
export function toWide(fields) {
  const time = fields.find((f) => f.type === "time");
  const labels = fields.filter((f) => f.type === "string");
  const numbers = fields.filter((f) => f.type === "number");
  if (!time || labels.length === 0 || numbers.length === 0) return fields;
  if (time.values.some((v, at) => v === null || (at > 0 && v < time.values[at - 1]))) return fields;
  const times = [...new Set(time.values)];
  const at = new Map(times.map((t, index) => [t, index]));
  const wide = new Map();
  time.values.forEach((t, row) => {
    const set = Object.fromEntries(labels.map((f) => [f.name, f.values[row] ?? ""]));
    for (const number of numbers) {
      const key = JSON.stringify([number.name, set]);
      if (!wide.has(key)) wide.set(key, { name: number.name, type: "number", labels: set, values: times.map(() => null) });
      wide.get(key).values[at.get(t)] = number.values[row];
    }
  });
  return [{ ...time, values: times }, ...[...wide.keys()].sort().map((key) => wide.get(key))];
}

/** The frame of a target, in the form in which Grafana's server sends it to the browser. */
export function frameOf(target, text) {
  let fields = toFields(rowsOf(text), target.columns);
  if (target.format === "timeseries") fields = toWide(fields);
  return {
    schema: {
      refId: target.refId,
      name: target.refId,
      fields: fields.map(({ name, type, labels }) => ({ name, type, labels, typeInfo: { frame: type, nullable: true } })),
    },
    data: { values: fields.map((f) => f.values) },
  };
}

/** An alert instance per row (numeric-long): one number, the strings are its labels, times are ignored. */
export function alertInstances(fields) {
  const numbers = fields.filter((f) => f.type === "number");
  if (numbers.length !== 1) throw new Error(`an alert needs one number column, not ${numbers.length}`);
  const labels = fields.filter((f) => f.type === "string");
  const instances = numbers[0].values.map((value, row) => ({
    value,
    labels: Object.fromEntries(labels.map((f) => [f.name, f.values[row] ?? ""])),
  }));
  const seen = new Set();
  for (const { labels: set } of instances) {
    const key = JSON.stringify(set);
    if (seen.has(key)) throw new Error(`two alert instances with the labels ${key}`);
    seen.add(key);
  }
  return instances;
}
