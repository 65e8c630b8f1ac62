// Panels as Grafana draws them, as far as its libraries hold the components: tables, stats and time series. Of the state timeline
// and the node graph they hold none: these are drawn here from the same frames, display values and links.

import { cacheFieldDisplayNames, EventBusSrv, getFieldDisplayValues, ThemeContext } from "@grafana/data";
import { BigValue, GlobalStyles, PanelChrome, PanelContextProvider, TimeSeries, VizRepeater } from "@grafana/ui";
import { TableNG } from "@grafana/ui/unstable";
import { sceneGraph } from "@grafana/scenes";
import { createRoot } from "react-dom/client";
import { MemoryRouter } from "react-router-dom";
import { NodeGraph } from "./graph";
import { theme } from "./panel";
import { StateTimeline } from "./timeline";
import { replaceIn } from "./variables";

function Table({ panel, frames, width, height }) {
  return (
    <TableNG
      data={frames[0]}
      width={width}
      height={height}
      noHeader={!panel.options.showHeader}
      resizable
      cellHeight={panel.options.cellHeight}
      initialSortBy={panel.options.sortBy}
      fieldConfig={panel.fieldConfig}
      enableVirtualization={false}
      structureRev={1}
    />
  );
}

function Stat({ panel, frames, width, height, scene }) {
  const values = () =>
    getFieldDisplayValues({
      fieldConfig: panel.fieldConfig,
      reduceOptions: panel.options.reduceOptions,
      replaceVariables: replaceIn(scene),
      theme,
      data: frames,
      sparkline: false,
      timeZone: "utc",
    });
  return (
    <VizRepeater
      getValues={values}
      source={frames}
      width={width}
      height={height}
      orientation={panel.options.orientation}
      renderCounter={1}
      itemSpacing={3}
      renderValue={({ value, width: w, height: h, count }) => (
        <BigValue
          value={value.display}
          width={w}
          height={h}
          count={count}
          theme={theme}
          colorMode={panel.options.colorMode}
          graphMode={panel.options.graphMode}
          justifyMode={panel.options.justifyMode}
          textMode={panel.options.textMode}
        />
      )}
    />
  );
}

function Lines({ panel, frames, width, height, scene }) {
  return (
    <TimeSeries
      frames={frames}
      width={width}
      height={height}
      timeZone="utc"
      timeRange={sceneGraph.getTimeRange(scene).state.value}
      legend={panel.options.legend}
      options={panel.options}
      structureRev={1}
    />
  );
}

const KINDS = { table: Table, stat: Stat, timeseries: Lines, "state-timeline": StateTimeline, nodeGraph: NodeGraph };

function Content(props) {
  if (!props.frames.some((frame) => frame.fields.length > 0 && frame.length > 0)) {
    return <div className="nothing">{props.panel.fieldConfig.defaults.noValue}</div>;
  }
  cacheFieldDisplayNames(props.frames);
  const Kind = KINDS[props.panel.type];
  return <Kind {...props} />;
}

/** Draws a panel into `place`. */
export function draw(place, props) {
  const { panel, width, height } = props;
  const root = createRoot(place);
  root.render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <MemoryRouter>
        <PanelContextProvider value={{ eventsScope: "panel", eventBus: new EventBusSrv() }}>
          <PanelChrome
            title={panel.title}
            description={panel.description}
            width={width}
            height={height}
            padding={panel.type === "table" ? "none" : "md"}
          >
            {(w, h) => <Content {...props} width={w} height={h} />}
          </PanelChrome>
        </PanelContextProvider>
      </MemoryRouter>
    </ThemeContext.Provider>,
  );
  return root;
}
