// A state timeline drawn after Grafana's rules: a lane per field, a stretch per value until the next one, equal neighbours merged.

import { dateTimeFormat, formattedValueToString, getFieldDisplayName } from "@grafana/data";
import { VizLegend } from "@grafana/ui";
import { sceneGraph } from "@grafana/scenes";
import { theme } from "./panel";

const LABELS = 190;
const AXIS = 22;
const LEGEND = 30;
const TICKS = 8;

/** The stretches of a lane: a value holds until the next one, and the last one until the end. */
function stretches(times, values, until) {
  const found = [];
  values.forEach((value, at) => {
    if (value === null || value === undefined) return;
    if (found.at(-1)?.value !== value) found.push({ value, from: times[at] });
  });
  return found.map((stretch, at) => ({ ...stretch, to: found[at + 1]?.from ?? until }));
}

export function StateTimeline({ panel, frames, width, height, scene }) {
  const [frame] = frames;
  const range = sceneGraph.getTimeRange(scene).state.value;
  const [from, to] = [range.from.valueOf(), range.to.valueOf()];
  const times = frame.fields.find((field) => field.type === "time").values;
  const lanes = frame.fields.filter((field) => field.type === "number").slice(0, panel.options.perPage);
  const room = width - LABELS;
  const x = (time) => LABELS + ((Math.min(Math.max(time, from), to) - from) / (to - from)) * room;
  const lane = (height - AXIS - LEGEND) / lanes.length;
  const words = new Map();
  const bars = lanes.flatMap((field, row) =>
    stretches(times, field.values, to)
      .filter((stretch) => stretch.to > from && stretch.from < to)
      .map((stretch) => {
        const shown = field.display(stretch.value);
        const text = formattedValueToString(shown);
        words.set(text, shown.color);
        return {
          key: `${row} ${stretch.from}`,
          left: x(stretch.from),
          right: x(stretch.to),
          top: row * lane,
          text,
          color: shown.color,
        };
      }),
  );
  const tall = lane * panel.options.rowHeight;
  const step = Math.ceil((to - from) / TICKS / 60_000) * 60_000;
  const ticks = Array.from({ length: TICKS }, (_, at) => Math.ceil(from / step) * step + at * step).filter((time) => time < to);
  return (
    <div>
      <svg width={width} height={height - LEGEND} fontFamily={theme.typography.fontFamily} fontSize="12">
        {lanes.map((field, row) => (
          <text
            key={row}
            x={LABELS - 8}
            y={row * lane + tall / 2}
            textAnchor="end"
            dominantBaseline="middle"
            fill={theme.colors.text.primary}
          >
            {getFieldDisplayName(field, frame, frames)}
          </text>
        ))}
        {bars.map(({ key, left, right, top, text, color }) => (
          <g key={key}>
            <rect
              x={left}
              y={top}
              width={Math.max(right - left, 1)}
              height={tall}
              fill={color}
              fillOpacity={panel.fieldConfig.defaults.custom.fillOpacity / 100}
            />
            {right - left > 7 * text.length + 8 && (
              <text x={left + 4} y={top + tall / 2} dominantBaseline="middle" fill={theme.colors.getContrastText(color)}>
                {text}
              </text>
            )}
          </g>
        ))}
        {ticks.map((time) => (
          <text key={time} x={x(time)} y={height - LEGEND - 6} textAnchor="middle" fill={theme.colors.text.secondary}>
            {dateTimeFormat(time, { timeZone: "utc", format: to - from > 2 * 86_400_000 ? "MM-DD" : "HH:mm" })}
          </text>
        ))}
      </svg>
      <VizLegend
        placement="bottom"
        displayMode="list"
        items={[...words].map(([label, color]) => ({ label, color, yAxis: 1 }))}
      />
    </div>
  );
}
