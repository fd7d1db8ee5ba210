// Charts: <div data-chart='{"unit", "times", "series": [{"label", "low", "high"}], "lines": [{"label", "value", "kind"}],
// "bands": [[from, to]]}'>, times in Unix seconds, drawn by uPlot in the theme's colours.
(function () {
  "use strict";

  const drawn = new Map();  // element -> {plot, text}
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // A custom property may hold light-dark(…), which a canvas does not know: an element that uses it does.
  function resolved(name) {
    const probe = document.createElement("span");
    probe.className = "hidden";
    probe.style.color = "var(" + name + ")";
    document.body.append(probe);
    const found = getComputedStyle(probe).color || color(name);
    probe.remove();
    return found;
  }

  function amount(value, unit) {
    if (value === null || value === undefined) return "–";
    const plain = (number, digits) => Number(number.toPrecision(digits)).toLocaleString(undefined, { maximumFractionDigits: 6 });
    const [base, per] = unit.split("/");
    const after = per ? "/" + per : "";
    if (base === "USD") return (value < 0 ? "-$" : "$") + plain(Math.abs(value), 4) + after;
    if (base === "ratio") return plain(value * 100, 3) + " %" + after;
    if (base === "ms") {
      const size = Math.abs(value);
      if (size >= 3600000) return plain(value / 3600000, 3) + "h" + after;
      if (size >= 60000) return plain(value / 60000, 3) + "m" + after;
      return (size >= 1000 ? plain(value / 1000, 3) + "s" : plain(value, 3) + "ms") + after;
    }
    return plain(value, 4) + after;
  }

  function options(data, width, height) {
    const text = resolved("--muted"), line = resolved("--line"), palette = [1, 2, 3, 4, 5, 6, 7, 8].map((n) => resolved("--series-" + n));
    const limits = data.lines.map((each) => each.value);
    const series = [{ value: (_, at) => (at === null ? "–" : new Date(at * 1000).toLocaleString()) }];
    const bands = [];
    data.series.forEach((each, index) => {
      const stroke = palette[index % palette.length];
      const ranged = each.low && each.low.some((value, at) => value !== each.high[at]);
      series.push({ label: each.label, stroke, width: 1.75, spanGaps: true, points: { show: each.high.filter((v) => v !== null).length < 40, size: 5 }, value: (_, v) => amount(v, data.unit) });
      if (ranged) {
        series.push({ label: each.label + " (lowest)", edge: true, stroke, width: 0.75, dash: [2, 3], spanGaps: true, points: { show: false }, value: (_, v) => amount(v, data.unit) });
        bands.push({ series: [series.length - 2, series.length - 1], fill: stroke.replace("rgb(", "rgba(").replace(")", ", 0.12)") });
      }
    });
    const axis = { stroke: text, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "12px system-ui, sans-serif" };
    return {
      width, height, series, bands,
      cursor: { drag: { x: true, y: false } },
      legend: { show: true, live: true },
      scales: {
        x: { time: true },
        y: { range: (_, low, high) => {
          const all = limits.concat([low, high]).filter((value) => value !== null && isFinite(value));
          let bottom = Math.min(...all), top = Math.max(...all);
          if (!all.length) return [0, 1];
          if (bottom > 0 && bottom < top * 0.6) bottom = 0;
          const room = (top - bottom || Math.abs(top) || 1) * 0.08;
          return [bottom === 0 ? 0 : bottom - room, top + room];
        } },
      },
      axes: [{ ...axis, values: moments }, { ...axis, size: 72, values: (_, ticks) => ticks.map((tick) => amount(tick, data.unit)) }],
      hooks: { ready: [quiet], drawClear: [(plot) => shade(plot, data)], draw: [(plot) => thresholds(plot, data)] },
    };
  }

  // The lower edge of a band needs no line of its own in the legend.
  function quiet(plot) {
    const rows = plot.root.querySelectorAll(".u-legend .u-series");
    plot.series.forEach((each, index) => { if (each.edge && rows[index]) rows[index].classList.add("unsaid"); });
  }

  // Hours as this browser writes them; the day where a new one begins.
  function moments(_, ticks, __, ___, step) {
    const day = { day: "numeric", month: "short" };
    const time = { hour: "2-digit", minute: "2-digit", ...(step < 60 ? { second: "2-digit" } : {}) };
    let before = null;
    return ticks.map((tick) => {
      const at = new Date(tick * 1000);
      const date = at.toLocaleDateString(undefined, day);
      const fresh = date !== before;
      before = date;
      const hours = at.toLocaleTimeString(undefined, time);
      return step >= 86400 ? date : fresh ? hours + "\n" + date : hours;
    });
  }

  // When it would have fired, behind the values.
  function shade(plot, data) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.fillStyle = resolved("--bad");
    ctx.globalAlpha = 0.13;
    for (const [from, to] of data.bands || []) {
      const left = Math.max(bbox.left, plot.valToPos(from, "x", true));
      const right = Math.min(bbox.left + bbox.width, to === null ? Infinity : plot.valToPos(to, "x", true));
      if (right >= bbox.left && left <= bbox.left + bbox.width) ctx.fillRect(left, bbox.top, Math.max(2, right - left), bbox.height);
    }
    ctx.restore();
  }

  function thresholds(plot, data) {
    const { ctx, bbox } = plot;
    const scale = devicePixelRatio || 1;
    ctx.save();
    ctx.font = 12 * scale + "px system-ui, sans-serif";
    ctx.textAlign = "right";
    ctx.lineWidth = 1.5 * scale;
    for (const each of data.lines) {
      const at = plot.valToPos(each.value, "y", true);
      if (!isFinite(at) || at < bbox.top || at > bbox.top + bbox.height) continue;
      ctx.strokeStyle = ctx.fillStyle = resolved(each.kind === "warn" ? "--warn" : "--bad");
      ctx.setLineDash([6 * scale, 4 * scale]);
      ctx.beginPath();
      ctx.moveTo(bbox.left, at);
      ctx.lineTo(bbox.left + bbox.width, at);
      ctx.stroke();
      const above = at - bbox.top > 18 * scale;
      ctx.textBaseline = above ? "bottom" : "top";
      ctx.fillText(each.label + " " + amount(each.value, data.unit), bbox.left + bbox.width - 6 * scale, at + (above ? -3 : 3) * scale);
    }
    ctx.restore();
  }

  function columns(data) {
    if (data.times.length === 1) {  // of one reading no axis can be made
      const wider = (values) => [null, ...values];
      const series = data.series.map((each) => ({ ...each, low: wider(each.low), high: wider(each.high) }));
      return columns({ ...data, times: [data.times[0] - 60, data.times[0]], series });
    }
    const found = [data.times];
    for (const each of data.series) {
      found.push(each.high);
      if (each.low && each.low.some((value, at) => value !== each.high[at])) found.push(each.low);
    }
    return found;
  }

  function one(element, again) {
    const text = element.dataset.chart;
    const known = drawn.get(element);
    if (known && known.text === text && !again) return;
    const data = JSON.parse(text);
    if (known) known.plot.destroy();
    const height = Number(element.dataset.height || 260);
    const plot = new uPlot(options(data, Math.max(200, element.clientWidth), height), columns(data), element);
    drawn.set(element, { plot, text });
  }

  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const known = drawn.get(target);
      const width = Math.max(200, target.clientWidth);
      if (known && known.plot.width !== width) known.plot.setSize({ width, height: Number(target.dataset.height || 260) });
    }
  });

  function draw(root) {
    for (const [element, known] of drawn) {
      if (!element.isConnected) { known.plot.destroy(); drawn.delete(element); sizes.unobserve(element); }
    }
    const inside = Array.from((root || document).querySelectorAll("[data-chart]"));
    if (root && root.matches && root.matches("[data-chart]")) inside.push(root);
    for (const each of inside) {
      one(each, false);
      sizes.observe(each);
    }
  }
  function redraw() {
    for (const element of drawn.keys()) if (element.isConnected) one(element, true);
  }

  window.TocsinCharts = { draw, redraw };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  draw();
})();
