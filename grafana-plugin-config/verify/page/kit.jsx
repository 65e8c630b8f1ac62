// What the checks call in the browser.

import { cellsOf, framesOf, theme } from "./panel";
import { draw } from "./draw";
import { follow, interpolate, sceneOf } from "./variables";

let scene;
let roots = [];

window.kit = {
  open(dashboard, { values = {}, range, href } = {}) {
    scene = sceneOf(dashboard, values, range);
    if (href) follow(scene, href);
  },
  targets: (targets) => targets.map((target) => interpolate(scene, target)),
  async cells(panel, json) {
    return cellsOf(await framesOf(scene, panel, json));
  },
  /** Draws one panel, or a whole dashboard with the panels in their places; `json` holds the frames of each. Returns its height. */
  async draw(dashboard, panels, json, width) {
    roots.forEach((root) => root.unmount());
    document.body.replaceChildren();
    document.body.style.background = theme.colors.background.canvas;
    const cell = (width - 8) / 24;
    const top = Math.min(...panels.map((p) => p.gridPos.y));
    const height = 8 + 38 * Math.max(...panels.map((p) => p.gridPos.y + p.gridPos.h - top));
    document.body.style.height = `${height}px`;
    roots = await Promise.all(
      panels.map(async (panel, index) => {
        const { x, y, w, h } = panel.gridPos;
        const place = document.body.appendChild(document.createElement("div"));
        const size = { width: Math.floor(w * cell) - 8, height: h * 38 - 8 };
        Object.assign(place.style, {
          position: "absolute",
          left: `${8 + x * cell}px`,
          top: `${8 + (y - top) * 38}px`,
          width: `${size.width}px`,
          height: `${size.height}px`,
        });
        return draw(place, { panel, frames: await framesOf(scene, panel, json[index]), ...size, scene });
      }),
    );
    return height;
  },
};
