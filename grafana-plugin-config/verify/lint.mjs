// Rules that no type can say. Each is named in its message.

const ALLOWED_TIME = ["__from", "__to"];

/** What is wrong with a dashboard, given all of them. */
export function lintProblems(dashboard, all) {
  const problems = [];
  const fail = (where, what) => problems.push(`${dashboard.uid} ${where}: ${what}`);
  const variables = dashboard.templating.list.map((v) => v.name);

  if (!/^[a-z0-9-]{8,40}$/.test(dashboard.uid)) fail("uid", "8 to 40 of a-z, 0-9, -");
  for (const key of ["title", "description"]) if (!dashboard[key]) fail(key, "is missing");
  if (dashboard.schemaVersion !== 42) fail("schemaVersion", "is not 42");
  if (!dashboard.tags?.includes("kalypso")) fail("tags", "lack kalypso");
  if ("apiVersion" in dashboard || "spec" in dashboard) fail("form", "is not classic JSON");
  for (const key of ["id", "version", "__inputs", "style", "pluginVersion"])
    if (key in dashboard) fail(key, "belongs to one server");

  const query = (target, where) => {
    for (const { key, value } of target.url_options.params) {
      for (const [, name, format] of value.matchAll(/\$\{([^}:]+)(?::([^}]+))?\}/g)) {
        if (ALLOWED_TIME.includes(name)) continue;
        if (!variables.includes(name)) fail(where, `parameter ${key} uses \${${name}}, which is no variable here`);
        if (format !== "json") fail(where, `parameter ${key}: several values keep apart as \${${name}:json} only`);
      }
      if (/\$(?!\{)/.test(value)) fail(where, `parameter ${key}: a bare $ in ${value}`);
      if (/'\$/.test(value)) fail(where, `parameter ${key}: a quoted variable`);
      if (key === "q" && value.includes("$")) fail(where, "a variable becomes part of a statement");
    }
    if (!/^\/api\/v1\/[a-z0-9/-]+$/.test(target.url)) fail(where, `url ${target.url}: a plain path, without variables`);
    for (const forbidden of ["data", "body_type", "body_form", "pagination_mode"]) {
      if (forbidden in target || forbidden in target.url_options) fail(where, `${forbidden}: GET with params only, one answer`);
    }
    if (target.datasource?.uid !== "kalypso-hub") fail(where, "the datasource is not kalypso-hub");
    for (const column of target.columns) {
      if (!column.type) fail(where, `column ${column.text} has no type`);
      if (/(_at|_time|^time|timeEnd|^since|_since|^week)$/.test(column.text) !== (column.type === "timestamp"))
        fail(where, `column ${column.text}: times are timestamps, and nothing else`);
    }
  };

  const link = (url, columns, where) => {
    const outside = /^\$\{__data\.fields\.([a-z_]+):raw\}$/.exec(url);
    if (outside) {
      // The hub encodes what is called so, and names no page where there is none.
      if (!/(_url|^link)$/.test(outside[1])) fail(where, `link ${url}: ${outside[1]} may be anything`);
      if (!columns.includes(outside[1])) fail(where, `link ${url}: the query has no column ${outside[1]}`);
      return;
    }
    const inside = /^\/d\/([a-z0-9-]+)\?(.*)$/.exec(url);
    if (!inside) return fail(where, `link ${url} is neither relative nor a page that the hub names`);
    const target = all.find((d) => d.uid === inside[1]);
    if (!target) return fail(where, `link to ${inside[1]}, which does not exist`);
    const parts = inside[2].split("&");
    if (!parts.includes("${__url_time_range}")) fail(where, "link does not keep the time range");
    for (const [, name] of url.matchAll(/\$\{__data\.fields\.([a-z_]+)[:}]/g))
      if (!columns.includes(name)) fail(where, `link ${url}: the query has no column ${name}`);
    for (const part of parts) {
      const [, name, value] = /^var-([a-z_]+)=(.*)$/.exec(part) ?? [];
      if (name && !target.templating.list.some((v) => v.name === name))
        fail(where, `link to ${target.uid} sets ${name}, which it does not have`);
      if (name && !/^(\$\{__data\.fields\.[a-z_]+:percentencode\}|[a-z_]+)$/.test(value))
        fail(where, `link: ${value} is not encoded`);
    }
  };

  const ids = new Set();
  dashboard.panels.forEach((panel, index) => {
    const where = `'${panel.title}'`;
    if (ids.has(panel.id)) fail(where, `id ${panel.id} is taken`);
    ids.add(panel.id);
    for (const key of ["title", "description"]) if (!panel[key]) fail(where, `has no ${key}`);
    if (!panel.fieldConfig.defaults.noValue) fail(where, "says nothing when there is nothing");
    const refs = panel.targets.map((target) => target.refId).join();
    if (refs !== (panel.type === "nodeGraph" ? "nodes,edges" : "A"))
      fail(where, `queries ${refs}: several run one after the other`);
    for (const other of dashboard.panels.slice(0, index)) {
      const [a, b] = [panel.gridPos, other.gridPos];
      if (a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h) fail(where, `covers '${other.title}'`);
    }
    if (panel.gridPos.x + panel.gridPos.w > 24) fail(where, "is wider than the grid");
    for (const target of panel.targets) query(target, where);

    const columns = panel.targets.flatMap((target) => target.columns.map((c) => c.text));
    const organize = panel.transformations.find((t) => t.id === "organize");
    const matrix = panel.transformations.find((t) => t.id === "groupingToMatrix");
    if (["table", "stat"].includes(panel.type) && !matrix) {
      const order = Object.keys(organize?.options.indexByName ?? {});
      if (order.toSorted().join() !== columns.toSorted().join())
        fail(where, "organize does not order exactly the columns of the query");
    }
    const names = matrix ? [`${matrix.options.rowField}\\${matrix.options.columnField}`] : columns;
    const titles = panel.fieldConfig.overrides.flatMap((o) =>
      o.properties.filter((p) => p.id === "displayName").map((p) => p.value),
    );
    for (const { matcher, properties } of panel.fieldConfig.overrides) {
      if (matcher.id !== "byName") fail(where, `matcher ${matcher.id}`);
      if (panel.type !== "timeseries" && !names.includes(matcher.options))
        fail(where, `an override matches ${matcher.options}, which is no column`);
      for (const { id, value } of properties) if (id === "links") value.forEach(({ url }) => link(url, columns, where));
    }
    if (new Set(titles).size !== titles.length) fail(where, "two columns have the same title");
    for (const { displayName } of panel.options.sortBy ?? [])
      if (!titles.includes(displayName)) fail(where, `sorts by ${displayName}, which is no column`);
  });

  for (const variable of dashboard.templating.list) {
    query(
      variable.query.infinityQuery.datasource
        ? variable.query.infinityQuery
        : { ...variable.query.infinityQuery, datasource: variable.datasource },
      `variable ${variable.name}`,
    );
    if (variable.includeAll ? variable.allValue !== "*" : "allValue" in variable)
      fail(`variable ${variable.name}`, "All is *, or there is no All");
    if (!variable.multi) fail(`variable ${variable.name}`, "one value alone would not be quoted by :json");
    const before = variables.slice(0, variables.indexOf(variable.name));
    for (const { value } of variable.query.infinityQuery.url_options.params) {
      const name = /^\$\{([a-z_]+):json\}$/.exec(value)?.[1];
      if (name && !before.includes(name)) fail(`variable ${variable.name}`, `depends on ${name}, which comes later`);
    }
  }
  for (const annotation of dashboard.annotations.list) query(annotation.target, `annotation ${annotation.name}`);
  return problems;
}
