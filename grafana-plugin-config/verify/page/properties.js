// The properties that overrides can set: the standard ones, and those that the panels in use have of their own.
// Grafana keeps this list in its server's bundle, not in its libraries, so it is written down here.

import {
  booleanOverrideProcessor,
  dataLinksOverrideProcessor,
  displayNameOverrideProcessor,
  identityOverrideProcessor,
  numberOverrideProcessor,
  Registry,
  stringOverrideProcessor,
  thresholdsOverrideProcessor,
  unitOverrideProcessor,
  valueMappingsOverrideProcessor,
} from "@grafana/data";

const STANDARD = {
  displayName: displayNameOverrideProcessor,
  description: stringOverrideProcessor,
  unit: unitOverrideProcessor,
  min: numberOverrideProcessor,
  max: numberOverrideProcessor,
  decimals: numberOverrideProcessor,
  noValue: stringOverrideProcessor,
  color: identityOverrideProcessor,
  mappings: valueMappingsOverrideProcessor,
  thresholds: thresholdsOverrideProcessor,
  links: dataLinksOverrideProcessor,
};
const TABLE = {
  width: numberOverrideProcessor,
  minWidth: numberOverrideProcessor,
  align: identityOverrideProcessor,
  cellOptions: identityOverrideProcessor,
  filterable: booleanOverrideProcessor,
  inspect: booleanOverrideProcessor,
  hideFrom: identityOverrideProcessor,
  // Of Grafana 11; what is drawn here must do without.
  hidden: booleanOverrideProcessor,
};
const GRAPH = Object.fromEntries(
  [
    "drawStyle",
    "lineInterpolation",
    "lineWidth",
    "fillOpacity",
    "gradientMode",
    "showPoints",
    "pointSize",
    "spanNulls",
    "axisPlacement",
    "axisLabel",
    "axisColorMode",
    "scaleDistribution",
    "stacking",
    "thresholdsStyle",
    "hideFrom",
    "axisCenteredZero",
    "barAlignment",
    "lineStyle",
    "insertNulls",
  ].map((name) => [name, identityOverrideProcessor]),
);
const CUSTOM = { table: TABLE, stat: {}, timeseries: GRAPH, "state-timeline": GRAPH, nodeGraph: {} };

const item = (id, path, process, isCustom) => ({
  id,
  path,
  name: id,
  isCustom,
  process,
  settings: { expandTemplateVars: id === "displayName" },
  override: () => null,
  editor: () => null,
  shouldApply: () => true,
  getItemsCount: () => 1,
});

export function propertiesOf(type) {
  return new Registry(() => [
    ...Object.entries(STANDARD).map(([id, process]) => item(id, id, process, false)),
    ...Object.entries(CUSTOM[type]).map(([name, process]) => item(`custom.${name}`, name, process, true)),
  ]);
}
