// ECharts, in the console's colours. An update changes what is drawn and neither blinks nor animates.
import { BarChart, LineChart, ScatterChart } from "echarts/charts";
import { DataZoomComponent, DatasetComponent, GridComponent, LegendComponent, MarkLineComponent, TooltipComponent } from "echarts/components";
import { type EChartsCoreOption, init, use } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";
import { useEffect, useRef } from "react";
import { tokenColor, useTheme } from "../theme";

use([LineChart, BarChart, ScatterChart, GridComponent, TooltipComponent, LegendComponent, DatasetComponent, DataZoomComponent, MarkLineComponent, CanvasRenderer]);

export type ChartOption = EChartsCoreOption;

const SERIES = 8;

/** What every chart has: quiet axes, the palette, a tooltip that stays inside of the window. */
function themed(): EChartsCoreOption {
  const ink = tokenColor("--ink-faint");
  const line = tokenColor("--line");
  const axis = {
    axisLine: { lineStyle: { color: tokenColor("--line-strong") } },
    axisTick: { show: false },
    axisLabel: { color: ink, fontSize: 11, hideOverlap: true },
    splitLine: { lineStyle: { color: line } },
    nameTextStyle: { color: ink },
  };
  return {
    animation: false,
    color: Array.from({ length: SERIES }, (_, i) => tokenColor(`--series-${i + 1}`)),
    textStyle: { fontFamily: getComputedStyle(document.body).fontFamily, color: tokenColor("--ink-soft") },
    xAxis: { ...axis, splitLine: { show: false } },
    yAxis: { ...axis, axisLine: { show: false } },
    tooltip: {
      confine: true,
      backgroundColor: tokenColor("--surface-raised"),
      borderColor: line,
      padding: [6, 10],
      textStyle: { color: tokenColor("--ink"), fontSize: 12 },
      axisPointer: { lineStyle: { color: tokenColor("--line-strong") }, crossStyle: { color: tokenColor("--line-strong") } },
    },
    legend: { textStyle: { color: tokenColor("--ink-soft"), fontSize: 11 }, pageTextStyle: { color: ink }, pageIconColor: ink, itemWidth: 14, itemHeight: 8 },
  };
}

type Part = Record<string, unknown>;
const isPart = (value: unknown): value is Part => typeof value === "object" && value !== null && !Array.isArray(value);

/** `over` on top of `base`; parts that are objects are merged, an array of axes gets the base's axis in each. */
function merged(base: Part, over: Part): Part {
  const result: Part = { ...base };
  for (const [key, value] of Object.entries(over)) {
    if (value === undefined) continue;
    const below = base[key];
    if (isPart(below) && isPart(value)) result[key] = merged(below, value);
    else if (isPart(below) && Array.isArray(value)) result[key] = value.map((item) => (isPart(item) ? merged(below, item) : item));
    else result[key] = value;
  }
  return result;
}

/** Series that name a colour of the palette by its number (`paint`) have it, whatever other series there are. */
function painted(option: ChartOption, palette: string[]): Part {
  const { series } = option as { series?: (Part & { paint?: number; itemStyle?: Part })[] };
  const colour = ({ paint, ...one }: Part & { paint?: number; itemStyle?: Part }) => (paint === undefined ? one : { ...one, itemStyle: { ...one.itemStyle, color: palette[paint % palette.length] } });
  return Array.isArray(series) ? { ...option, series: series.map(colour) } : option;
}

interface ChartProps {
  /** An ECharts option; keep it stable between renders (useMemo). Legends and tooltips are drawn only if the option has them. */
  option: ChartOption;
  /** What the chart shows, in words. */
  label: string;
}

export function Chart({ option, label }: ChartProps) {
  const theme = useTheme();
  const host = useRef<HTMLDivElement>(null);
  const chart = useRef<ReturnType<typeof init> | null>(null);
  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const made = init(element, null, { renderer: "canvas" });
    chart.current = made;
    const observer = new ResizeObserver(() => made.resize());
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.dispose();
      chart.current = null;
    };
  }, []);
  useEffect(() => {
    void theme; // The tokens' values depend on it.
    const base = themed();
    // What an option does not have must be taken away, or it would stay from the option before.
    if (option.legend === undefined) base.legend = { show: false };
    if (option.tooltip === undefined) base.tooltip = { show: false };
    // Series that are gone go; those that stay are changed in place.
    chart.current?.setOption(merged(base, painted(option, base.color as string[])), { replaceMerge: ["series", "xAxis", "yAxis", "dataZoom"] });
  }, [option, theme]);
  return (
    <div className="chart">
      <div ref={host} role="img" aria-label={label} />
    </div>
  );
}
