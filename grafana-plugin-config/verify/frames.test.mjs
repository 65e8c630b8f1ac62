import assert from "node:assert/strict";
import { test } from "node:test";
import { alertInstances, frameOf, PluginPanic, rowsOf, toFields, toWide } from "./frames.mjs";

const column = (selector, type, text = selector) => ({ selector, text, type });
const cell = (value, type) => toFields([{ a: value }], [column("a", type)])[0].values[0];

test("fields are sorted by their output name", () => {
  const fields = toFields(
    [{ b: "1", a: "2" }],
    [column("b", "string", "x"), column("a", "string", "z"), column("c", "string", "B")],
  );
  assert.deepEqual(
    fields.map((f) => f.name),
    ["B", "x", "z"],
  );
});
test("no rows, no fields, also with declared columns", () => {
  assert.deepEqual(toFields([], [column("a", "string")]), []);
});
test("undeclared columns are typed by their first value, and another type panics", () => {
  assert.equal(toFields([{ a: null }, { a: 1 }])[0].type, "number");
  assert.throws(() => toFields([{ a: "x" }, { a: 1 }]), PluginPanic);
  assert.deepEqual(toFields([{ a: "x" }, { a: null }])[0].values, ["x", null]);
});
test("declared columns are coerced", () => {
  assert.equal(cell("12.5", "number"), 12.5);
  assert.equal(cell("twelve", "number"), null);
  assert.ok(Number.isNaN(cell("NaN", "number")));
  assert.equal(cell(true, "string"), "true");
  assert.equal(cell("true", "boolean"), true);
  assert.equal(cell("yes", "boolean"), null);
  assert.equal(cell({ x: 1 }, "string"), '{"x":1}');
  assert.equal(cell(undefined, "string"), null);
});
test("numbers in a text column become exponents from a million up", () => {
  assert.equal(cell(999999, "string"), "999999");
  assert.equal(cell(1234567, "string"), "1.234567e+06");
});
test("numbers are float64", () => {
  assert.equal(toFields(rowsOf('[{"a": 9007199254740993}]'), [column("a", "number")])[0].values[0], 9007199254740992);
});
test("times are RFC 3339; a number declared timestamp is null", () => {
  assert.equal(cell("1970-01-01T00:00:01.5Z", "timestamp"), 1500);
  assert.equal(cell(1500, "timestamp"), null);
  assert.equal(cell(1500, "timestamp_epoch"), 1500);
});
test("objects in an undeclared column are text, their absence the text null", () => {
  assert.deepEqual(toFields([{ a: { x: 1 } }, { a: null }])[0].values, ['{"x":1}', "null"]);
});
test("a column may not repeat", () => {
  assert.throws(() => toFields([{ a: 1 }], [column("a", "number"), column("a", "number")]), /twice/);
});
test("an empty body is an error, one object is one row", () => {
  assert.throws(() => rowsOf(""), /empty response body/);
  assert.deepEqual(rowsOf('{"a":1}'), [{ a: 1 }]);
});
test("timeseries becomes wide, and stays a table when times are not in order or null", () => {
  const rows = [
    { t: "2026-01-01T00:00:00Z", l: "x", n: 1 },
    { t: "2026-01-01T00:00:00Z", l: "y", n: 2 },
    { t: "2026-01-01T00:01:00Z", l: "x", n: 3 },
  ];
  const columns = [column("t", "timestamp"), column("l", "string"), column("n", "number")];
  assert.deepEqual(
    toWide(toFields(rows, columns)).map((f) => [f.name, f.labels?.l, f.values.slice(1)]),
    [
      ["t", undefined, [Date.parse(rows[2].t)]],
      ["n", "x", [3]],
      ["n", "y", [null]],
    ],
  );
  assert.equal(toWide(toFields(rows.toReversed(), columns)).length, 3);
  assert.equal(toWide(toFields([{ ...rows[0], t: null }], columns)).length, 3);
  assert.equal(frameOf({ refId: "A", format: "timeseries", columns }, JSON.stringify(rows)).schema.fields.length, 3);
});
test("an alert has one number, and labels of its own", () => {
  const columns = [column("l", "string"), column("n", "number")];
  assert.deepEqual(alertInstances(toFields([{ l: null, n: 1 }], columns)), [{ value: 1, labels: { l: "" } }]);
  assert.throws(
    () =>
      alertInstances(
        toFields(
          [
            { l: "x", n: 1 },
            { l: "x", n: 2 },
          ],
          columns,
        ),
      ),
    /two alert instances/,
  );
  assert.throws(() => alertInstances(toFields([{ n: 1, m: 2 }])), /one number/);
});
