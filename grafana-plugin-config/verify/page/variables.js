// The variables of a dashboard, replaced by Grafana's own code.

import { EmbeddedScene, QueryVariable, sceneGraph, SceneTimeRange, SceneVariableSet } from "@grafana/scenes";

/** A scene with the variables of a dashboard; `values` are choices by name, as from a user; the rest stays at All. */
export function sceneOf(dashboard, values, range) {
  const variables = dashboard.templating.list.map((v) => {
    const value = values[v.name] ?? v.current.value;
    return new QueryVariable({
      name: v.name,
      label: v.label,
      isMulti: v.multi,
      includeAll: v.includeAll,
      allValue: v.allValue,
      value,
      text: value,
      query: v.query,
      options: [],
    });
  });
  return new EmbeddedScene({
    $timeRange: new SceneTimeRange({
      from: range?.from ?? dashboard.time.from,
      to: range?.to ?? dashboard.time.to,
      timeZone: "utc",
    }),
    $variables: new SceneVariableSet({ variables }),
    body: null,
  });
}

/** Opens what a link points to: the choices are those of its address. */
export function follow(scene, href) {
  const address = new URL(href, "http://grafana.example");
  for (const variable of scene.state.$variables.state.variables) {
    const key = `var-${variable.state.name}`;
    if (address.searchParams.has(key)) variable.urlSync.updateFromUrl({ [key]: address.searchParams.getAll(key) });
  }
  const [from, to] = ["from", "to"].map((key) => address.searchParams.get(key));
  if (from && to) scene.state.$timeRange.urlSync.updateFromUrl({ from, to });
}

export const replaceIn = (scene) => (text, scopedVars, format) => sceneGraph.interpolate(scene, text, scopedVars, format);

/** The places of a query in which the datasource replaces variables, with its default format. */
export function interpolate(scene, target) {
  const replace = (text) => sceneGraph.interpolate(scene, text, undefined, "glob");
  return {
    ...target,
    url: replace(target.url),
    url_options: {
      ...target.url_options,
      params: target.url_options.params.map(({ key, value }) => ({ key: replace(key), value: replace(value) })),
    },
  };
}
