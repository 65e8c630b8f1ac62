// From frames to what a panel shows, by Grafana's own code: transformations, overrides, display values, links.

import {
  applyFieldOverrides,
  createTheme,
  dataFrameFromJSON,
  formattedValueToString,
  getFieldDisplayName,
  locationUtil,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
} from "@grafana/data";
import { propertiesOf } from "./properties";
import { replaceIn } from "./variables";

export const theme = createTheme({ colors: { mode: "dark" } });

// Some have a second, older name in the list.
const transformers = [...new Map(Object.values(standardTransformers).map((t) => [t.id, t])).values()];
standardTransformersRegistry.setInit(() =>
  transformers.map((transformation) => ({
    id: transformation.id,
    name: transformation.name,
    transformation,
    editor: () => null,
  })),
);
locationUtil.initialize({
  config: { appSubUrl: "", appUrl: "http://grafana.example/" },
  getVariablesUrlParams: () => ({}),
  getTimeRangeForUrl: () => ({}),
});

/** The frames that the panel draws. */
export async function framesOf(scene, panel, json) {
  const replace = replaceIn(scene);
  const properties = propertiesOf(panel.type);
  const steps = panel.transformations ?? [];
  for (const { id } of steps) if (!standardTransformersRegistry.getIfExists(id)) throw new Error(`no transformation ${id}`);
  for (const { properties: list } of panel.fieldConfig.overrides) {
    for (const { id } of list)
      if (!properties.getIfExists(id)) throw new Error(`no property ${id} of panels of type ${panel.type}`);
  }
  const frames = await new Promise((resolve, reject) =>
    transformDataFrame(
      steps,
      json.map((frame) => dataFrameFromJSON(frame)),
      { interpolate: replace },
    ).subscribe({ next: resolve, error: reject }),
  );
  return applyFieldOverrides({
    data: frames,
    fieldConfig: panel.fieldConfig,
    replaceVariables: replace,
    theme,
    timeZone: "utc",
    fieldConfigRegistry: properties,
  });
}

/** Columns with their cells as data, for assertions. */
export function cellsOf(frames) {
  return frames.flatMap((frame) =>
    frame.fields.map((field) => ({
      name: field.name,
      type: field.type,
      labels: field.labels ?? {},
      title: getFieldDisplayName(field, frame, frames),
      cells: Array.from({ length: frame.length }, (_, row) => {
        const shown = field.display(field.values[row]);
        const links = field.config.links?.length ? field.getLinks({ valueRowIndex: row }).map((l) => l.href) : [];
        return { value: field.values[row], text: formattedValueToString(shown), color: shown.color, links };
      }),
    })),
  );
}
