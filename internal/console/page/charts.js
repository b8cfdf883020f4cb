// Charts of the last ten minutes, one uPlot each, with a legend of the latest values.
import { h, put } from "./ui.js";

const longest = 600, shortest = 120; // seconds

// css reads a colour of the theme in force.
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// chart makes a card: series are {label, column, color ("--s1"), fill}, text is for values.
export function chart(title, series, text) {
  const legend = h("ul", { class: "legend" });
  const values = series.map((s) => {
    const value = h("b", {}, "–");
    legend.append(h("li", {}, h("span", { class: "swatch c" + s.color.replace("--s", "").replace("--", "") }), s.label + " ", value));
    return value;
  });
  const box = h("div", { class: "plot", role: "img", "aria-label": title + ", the last ten minutes" });
  const el = h("section", { class: "card" }, h("header", {}, h("h2", {}, title), legend), box);
  let plot = null;
  let data = [[], ...series.map(() => [])];

  function options(width) {
    const axis = { stroke: css("--muted"), font: "11px system-ui, sans-serif", grid: { stroke: css("--grid"), width: 1 }, ticks: { show: false } };
    return {
      width, height: 150, legend: { show: false }, padding: [8, 26, 0, 0],
      cursor: { sync: { key: "console" }, y: false, points: { size: 6 } },
      scales: { x: { time: true }, y: { range: (u, min, max) => [0, max > 0 ? max * 1.12 : 1] } },
      axes: [
        { ...axis, space: 70, size: 24, values: (u, ticks) => ticks.map((t) => new Date(t * 1000).toLocaleTimeString([], { hour12: false, hour: "2-digit", minute: "2-digit", second: u.scales.x.max - u.scales.x.min < 300 ? "2-digit" : undefined })) },
        { ...axis, size: 62, space: 34, values: (u, ticks) => ticks.map(text) },
      ],
      series: [{}, ...series.map((s) => ({ label: s.label, stroke: css(s.color), width: 1.6, points: { show: false }, spanGaps: false,
        fill: s.fill ? css(s.color) + "22" : undefined }))],
      hooks: { setCursor: [(u) => show(u.cursor.idx)] },
    };
  }
  function show(at) {
    const i = at === null || at === undefined ? data[0].length - 1 : at;
    values.forEach((value, n) => put(value, i >= 0 && data[n + 1][i] !== null && data[n + 1][i] !== undefined ? text(data[n + 1][i]) : "–"));
  }
  function draw() {
    const width = box.clientWidth;
    if (width === 0) return;
    if (plot) plot.destroy();
    plot = new window.uPlot(options(width), data, box);
    span();
  }
  function span() {
    const end = data[0].length ? data[0][data[0].length - 1] : Date.now() / 1000;
    const begun = data[0].length ? data[0][0] : end;
    plot.setScale("x", { min: Math.max(end - longest, Math.min(begun, end - shortest)), max: end });
  }
  const watch = new ResizeObserver(() => {
    if (!plot) draw(); else if (plot.width !== box.clientWidth && box.clientWidth > 0) plot.setSize({ width: box.clientWidth, height: 150 });
  });
  watch.observe(box);
  return {
    el,
    update(points, columns) {
      const at = series.map((s) => columns.indexOf(s.column));
      data = [[], ...series.map(() => [])];
      let before = 0;
      for (const p of points) {
        if (before && p[0] - before > 5000) { // nobody looked: a gap and no line
          data[0].push(before / 1000 + 1);
          at.forEach((c, n) => data[n + 1].push(null));
        }
        before = p[0];
        data[0].push(p[0] / 1000);
        at.forEach((c, n) => data[n + 1].push(p[c]));
      }
      if (plot) {
        plot.setData(data, false);
        span();
        if (plot.cursor.idx === null || plot.cursor.idx === undefined) show(null);
      } else {
        show(null);
      }
    },
    redraw: draw,
    close() { watch.disconnect(); if (plot) plot.destroy(); },
  };
}

const svg = "http://www.w3.org/2000/svg";

// spark is a small line in a table's cell.
export function spark(td, values) {
  let path = td.querySelector("path");
  if (!path) {
    const el = document.createElementNS(svg, "svg");
    el.setAttribute("class", "spark");
    el.setAttribute("viewBox", "0 0 110 22");
    el.setAttribute("aria-hidden", "true");
    path = document.createElementNS(svg, "path");
    el.append(path);
    td.replaceChildren(el);
  }
  const max = Math.max(...values, 0.1);
  const step = 110 / 59;
  const first = 60 - values.length;
  path.setAttribute("d", values.map((v, i) => (i ? "L" : "M") + ((first + i) * step).toFixed(1) + " " + (20.5 - (v / max) * 18.5).toFixed(1)).join(""));
}
