// Draws figures when they come into view, selects the same target in all sections, and prepares printing.
(function () {
  "use strict";
  const root = document.documentElement;
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const figures = read("figures");
  const samples = read("samples-data");
  window.reportSamples = samples;
  const boxes = [...document.querySelectorAll(".plot")];
  const touch = window.matchMedia("(pointer: coarse)").matches;

  const shorten = (text, length) => {
    const line = text.split(/\s+/).filter(Boolean).join(" ");
    if (line.length <= length) return line;
    const tail = Math.floor(length / 3);
    return line.slice(0, length - tail - 1) + "…" + line.slice(-tail);
  };
  // Escaped: plotly interprets some HTML in labels.
  const label = (row) =>
    shorten(samples.ids[row], 48).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  function expand(trace) {
    if (trace.rows) {
      trace.text = trace.rows.map(label);
      delete trace.rows;
    }
    if (trace.lines) {
      const { x, y, rows, step } = trace.lines;
      trace.x = [];
      trace.y = [];
      trace.text = [];
      y.forEach((line, i) => {
        const name = label(rows[i]);
        line.forEach((value, j) => {
          trace.x.push(x[j]);
          trace.y.push(value === null ? null : value * step);
          trace.text.push(name);
        });
        trace.x.push(null);
        trace.y.push(null);
        trace.text.push("");
      });
      delete trace.lines;
    }
    return trace;
  }

  // Legends: buttons that hide and show a trace.
  const plain = (text) => text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
  const SHAPES = {
    circle: '<circle cx="13" cy="7" r="4"/>',
    "circle-open": '<circle cx="13" cy="7" r="5" fill="none" stroke-width="1.5"/>',
    diamond: '<path d="M13 2l5 5-5 5-5-5z"/>',
    square: '<path d="M9 3h8v8h-8z"/>',
    "triangle-up": '<path d="M13 2l5 9h-10z"/>',
    cross: '<path d="M11.5 2h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5z"/>',
    x: '<path d="M9 3l8 8m0-8l-8 8" stroke-width="2.5"/>',
  };
  function swatch(trace) {
    const marker = trace.marker || {};
    const color = (trace.line && trace.mode.startsWith("lines") && trace.line.color) || marker.color;
    let inside = SHAPES[marker.symbol || "circle"] || SHAPES.circle;
    if (trace.type === "bar") inside = SHAPES.square;
    if (trace.mode && trace.mode.startsWith("lines")) {
      const dash = { dash: "5 3", dot: "2 2.5" }[trace.line.dash] || "none";
      const width = Math.min(Math.max(trace.line.width, 1.2), 3);
      inside = `<path d="M1 7h24" fill="none" stroke-width="${width}" stroke-dasharray="${dash}"/>`;
      if (trace.fill) inside += '<path d="M1 7h24v6h-24z" opacity="0.2" stroke="none"/>';
    }
    return `<svg width="26" height="14" viewBox="0 0 26 14" aria-hidden="true" fill="${color}" stroke="${color}" stroke-width="0">${inside}</svg>`;
  }
  boxes.forEach((box) => {
    const traces = figures[box.dataset.figure].data;
    const named = traces.map((trace, i) => [trace, i]).filter(([trace]) => trace.name);
    if (named.length < (box.dataset.figure === "comparison" ? 1 : 2)) return;
    const legend = document.createElement("div");
    legend.className = "legend";
    named.forEach(([trace, i]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.title = "Hide or show";
      button.setAttribute("aria-pressed", "true");
      button.innerHTML = swatch(trace);
      button.append(plain(trace.name));
      button.addEventListener("click", () => {
        const on = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(on));
        window.Plotly.restyle(box, { visible: on }, [i]);
      });
      legend.append(button);
    });
    box.before(legend);
  });

  const drawn = new Map();
  const sizeOf = (box, spec) => {
    const width = Math.floor(box.clientWidth);
    return { width, height: spec.height || Math.min(Math.max(width, 300), 460) };
  };

  function draw(box) {
    const spec = figures[box.dataset.figure];
    const size = sizeOf(box, spec);
    if (!size.width) return;
    const before = drawn.get(box);
    if (before && before.width === size.width) return;
    drawn.set(box, size);
    if (before) {
      window.Plotly.relayout(box, size);
      return;
    }
    const layout = Object.assign({}, spec.layout, size, touch ? { dragmode: false } : {});
    window.Plotly.newPlot(box, spec.data.map(expand), layout, {
      displaylogo: false,
      displayModeBar: size.width < 420 || touch ? false : "hover",
      modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
      toImageButtonOptions: { format: "svg", filename: box.dataset.figure },
    });
    box.style.minHeight = "";
    // The figure's aria-label describes it; screen readers skip the SVG.
    box.querySelectorAll("svg").forEach((picture) => picture.setAttribute("aria-hidden", "true"));
  }

  // Figures in view are drawn first, the others while the browser is idle.
  const later = window.requestIdleCallback || ((work) => setTimeout(work, 20));
  function drawRest() {
    const next = boxes.find((box) => !drawn.has(box) && box.clientWidth);
    if (!next) {
      root.dataset.drawn = "yes";
      return;
    }
    draw(next);
    later(drawRest);
  }
  const seen = new IntersectionObserver((entries) => entries.forEach((one) => one.isIntersecting && draw(one.target)), {
    rootMargin: "400px",
  });
  boxes.forEach((box) => seen.observe(box));
  later(drawRest);
  let waiting = 0;
  window.addEventListener("resize", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => [...drawn.keys()].forEach(draw));
  });

  // A selected target applies to all sections.
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const panels = [...document.querySelectorAll("[role=tabpanel]")];
  function choose(target, tab) {
    const at = tab ? tab.getBoundingClientRect().top : 0;
    tabs.forEach((one) => {
      const on = one.dataset.target === target;
      one.setAttribute("aria-selected", String(on));
      one.tabIndex = on ? 0 : -1;
    });
    panels.forEach((one) => (one.hidden = one.dataset.target !== target));
    boxes.filter((box) => box.clientWidth && box.closest(".panel")).forEach(draw);
    if (tab) window.scrollBy(0, tab.getBoundingClientRect().top - at);
  }
  tabs.forEach((tab) => {
    tab.addEventListener("click", () => choose(tab.dataset.target, tab));
    tab.addEventListener("keydown", (event) => {
      const row = [...tab.parentNode.children];
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const goal = { Home: 0, End: row.length - 1 }[event.key];
      if (step === undefined && goal === undefined) return;
      event.preventDefault();
      const next = row[goal ?? (row.indexOf(tab) + step + row.length) % row.length];
      choose(next.dataset.target, next);
      next.focus();
    });
  });
  if (tabs.length) choose("0", null);

  // The contents mark the section in view.
  const links = new Map([...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]));
  const inView = new IntersectionObserver(
    (entries) =>
      entries.forEach((one) => {
        if (!one.isIntersecting) return;
        links.forEach((link) => link.removeAttribute("aria-current"));
        links.get(one.target.id).setAttribute("aria-current", "true");
      }),
    { rootMargin: "-10% 0px -80% 0px" },
  );
  document.querySelectorAll("main > section").forEach((section) => inView.observe(section));

  window.addEventListener("beforeprint", () => {
    root.classList.add("printing");
    document.querySelectorAll("details").forEach((one) => (one.open = true));
    boxes.forEach(draw);
  });
  window.addEventListener("afterprint", () => {
    root.classList.remove("printing");
    boxes.filter((box) => box.clientWidth).forEach(draw);
  });
})();
