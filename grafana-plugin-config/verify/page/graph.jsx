// A node graph drawn after Grafana's rules: nodes in layers from left to right, a ring of shares each, arrows between them. A layer
// of many nodes is folded, so that all can be read in a picture that nobody can zoom.

import { VizLegend } from "@grafana/ui";
import { theme } from "./panel";

const RADIUS = 40;
const ACROSS = 210;
const DOWN = 136;
const LEGEND = 30;
const FOLD = 5;

const column = (frame, name) => frame.fields.find((field) => field.name === name)?.values ?? [];

/** How far each node is from where nothing leads to. */
function layers(ids, edges) {
  const layer = new Map(ids.map((id) => [id, 0]));
  for (let round = 0; round < ids.length; round += 1) {
    const late = edges.filter(([source, target]) => layer.get(target) <= layer.get(source));
    if (late.length === 0) break;
    late.forEach(([source, target]) => layer.set(target, layer.get(source) + 1));
  }
  return layer;
}

function Ring({ arcs, row }) {
  const around = 2 * Math.PI * RADIUS;
  let before = 0;
  return arcs.map((field) => {
    const share = field.values[row];
    const dash = `${share * around} ${around}`;
    const turn = before * 360 - 90;
    before += share;
    return (
      share > 0 && (
        <circle
          key={field.name}
          r={RADIUS}
          fill="none"
          strokeWidth="4"
          stroke={theme.visualization.getColorByName(field.config.color.fixedColor)}
          strokeDasharray={dash}
          transform={`rotate(${turn})`}
        />
      )
    );
  });
}

export function NodeGraph({ frames, width, height }) {
  const [nodes, edges] = frames;
  const ids = column(nodes, "id");
  const ends = column(edges, "source").map((source, at) => [source, column(edges, "target")[at]]);
  const layer = layers(ids, ends);
  const tallest = Math.min(
    FOLD,
    Math.max(...ids.map((id) => ids.filter((other) => layer.get(other) === layer.get(id)).length)),
  );
  const places = new Map();
  let columns = 0;
  for (const depth of [...new Set(layer.values())].sort((a, b) => a - b)) {
    const all = ids.filter((id) => layer.get(id) === depth);
    const rows = Math.ceil(all.length / Math.ceil(all.length / FOLD));
    all.forEach((id, at) => {
      const [x, y] = [columns + Math.floor(at / rows) + 0.5, ((at % rows) + 0.5) / rows];
      places.set(id, { x: x * ACROSS, y: y * tallest * DOWN });
    });
    columns += Math.ceil(all.length / rows);
  }
  const at = (id) => places.get(id);
  const arcs = nodes.fields.filter((field) => field.name.startsWith("arc__"));
  const texts = ["mainstat", "secondarystat", "title", "subtitle"].map((name) => column(nodes, name));
  return (
    <div>
      <svg
        width={width}
        height={height - LEGEND}
        viewBox={`0 -10 ${columns * ACROSS} ${tallest * DOWN + 20}`}
        fontFamily={theme.typography.fontFamily}
        textAnchor="middle"
      >
        <defs>
          <marker id="arrow" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">
            <path d="M0,0 L8,4 L0,8 z" fill="#999" />
          </marker>
        </defs>
        {ends.map(([source, target]) => {
          const [a, b] = [at(source), at(target)];
          const length = Math.hypot(b.x - a.x, b.y - a.y) || 1;
          const [dx, dy] = [((b.x - a.x) / length) * (RADIUS + 5), ((b.y - a.y) / length) * (RADIUS + 5)];
          return (
            <line
              key={`${source} ${target}`}
              x1={a.x + dx}
              y1={a.y + dy}
              x2={b.x - dx}
              y2={b.y - dy}
              stroke="#999"
              markerEnd="url(#arrow)"
            />
          );
        })}
        {ids.map((id, row) => {
          const [main, second, title, subtitle] = texts.map((values) => values[row]);
          return (
            <g key={id} transform={`translate(${at(id).x},${at(id).y})`} fill={theme.colors.text.primary} fontSize="11">
              <circle r={RADIUS} fill={theme.colors.background.primary} stroke={theme.colors.border.medium} />
              <Ring arcs={arcs} row={row} />
              <text y="-3">{main}</text>
              <text y="11" fontSize="9">
                {second}
              </text>
              <text y={RADIUS + 17} fontSize="14">
                {title}
              </text>
              <text y={RADIUS + 31} fontSize="12" fill={theme.colors.text.secondary}>
                {subtitle}
              </text>
            </g>
          );
        })}
      </svg>
      <VizLegend
        placement="bottom"
        displayMode="list"
        items={arcs.map(({ config }) => ({
          label: config.displayName,
          color: theme.visualization.getColorByName(config.color.fixedColor),
          yAxis: 1,
        }))}
      />
    </div>
  );
}
