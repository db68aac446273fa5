// The table of all samples: search, sort, pages, and a file for a spreadsheet.
(function () {
  "use strict";
  const samples = window.reportSamples;
  const byId = (id) => document.getElementById(id);
  const n = samples.ids.length;
  const head = document.querySelector("#table thead");
  const body = document.querySelector("#table tbody");
  const state = { target: 0, query: "", sort: null, down: false, page: 0, size: 25 };
  const DASH = "–";
  const shown = (value, digits, plus) =>
    value === null ? DASH : ((plus && value > 0 ? "+" : "") + value.toFixed(digits)).replace("-", "−");

  // A column: name, whether it is numeric, value in a row (null if missing), and format.
  function column(name, value, digits, extra) {
    return Object.assign({ name, value, digits, numeric: digits !== undefined }, extra);
  }
  function ofTarget(target) {
    if (!target.numeric) {
      const word = (key) => (row) => target.words[target[key][row]] || null;
      const measured = word("measured");
      const predicted = word("predicted");
      const agrees = (row) => (measured(row) === null ? null : measured(row) === predicted(row) ? "yes" : "no");
      return [
        column("Measured", measured),
        column("Predicted", predicted),
        column("Agrees", agrees),
        column("Possible classes", (row) => (word("possible")(row) || "").split("|").join(", ") || null),
      ];
    }
    const digits = target.decimals;
    const number = (key) => (row) =>
      target[key] === null || target[key][row] === null ? null : target[key][row] / 10 ** digits;
    const measured = number("measured");
    const predicted = number("predicted");
    const end = (key, sign) => {
      const reach = number(key);
      return (row) => (predicted(row) === null || reach(row) === null ? null : predicted(row) + sign * reach(row));
    };
    const residual = (row) => (measured(row) === null || predicted(row) === null ? null : predicted(row) - measured(row));
    return [
      column("Measured", measured, digits),
      column("Predicted", predicted, digits),
      column("Lower", end("below", -1), digits),
      column("Upper", end("above", 1), digits),
      column("Residual", residual, digits, { plus: true }),
    ];
  }
  const targets = samples.targets.map(ofTarget);
  const hasTest = n > samples.calibration;
  const first = [column("Sample", (row) => samples.ids[row], undefined, { id: true })];
  if (samples.groups) first.push(column("Group", (row) => samples.groups[row] || null, undefined, { id: true }));
  if (hasTest) first.push(column("Set", (row) => (row < samples.calibration ? "calibration" : "test")));
  const last = [
    column("T²", (row) => samples.t2[row], 2),
    column("Q", (row) => samples.q[row], 2),
    column("Reason", (row) => samples.reasons[row] || null, undefined, { reason: true }),
  ];
  const columns = () => [...first, ...(targets[state.target] || []), ...last];

  const text = (one, row) => {
    const value = one.value(row);
    return one.numeric ? shown(value, one.digits, one.plus) : value === null ? DASH : value;
  };

  const words = new Map();
  function searched(row) {
    const key = state.target * n + row;
    if (!words.has(key)) {
      words.set(
        key,
        columns()
          .filter((one) => !one.numeric)
          .map((one) => one.value(row) || "")
          .join("\n")
          .toLowerCase(),
      );
    }
    return words.get(key);
  }

  let rows = [];
  const compareText = new Intl.Collator(undefined, { numeric: true }).compare;
  function select() {
    const query = state.query.trim().toLowerCase();
    rows = [];
    for (let row = 0; row < n; row += 1) if (!query || searched(row).includes(query)) rows.push(row);
    if (state.sort !== null) {
      const one = columns()[state.sort];
      const values = new Map(rows.map((row) => [row, one.value(row)]));
      const sign = state.down ? -1 : 1;
      rows.sort((a, b) => {
        const [x, y] = [values.get(a), values.get(b)];
        if (x === null || y === null) return (x === null) - (y === null) || a - b; // unknown values last
        return sign * (one.numeric ? x - y : compareText(x, y)) || a - b;
      });
    }
    state.page = 0;
    show();
  }

  function header() {
    const line = document.createElement("tr");
    columns().forEach((one, i) => {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.setAttribute("aria-sort", state.sort !== i ? "none" : state.down ? "descending" : "ascending");
      if (one.numeric) cell.className = "number";
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.column = i;
      button.textContent = one.name;
      const arrow = document.createElement("span");
      arrow.className = "arrow";
      arrow.setAttribute("aria-hidden", "true");
      arrow.textContent = state.sort !== i ? "" : state.down ? "↓" : "↑";
      if (one.numeric) button.prepend(arrow);
      else button.append(arrow);
      cell.append(button);
      line.append(cell);
    });
    head.replaceChildren(line);
  }

  function show() {
    const pages = Math.max(Math.ceil(rows.length / state.size), 1);
    const from = state.page * state.size;
    const all = columns();
    body.replaceChildren(
      ...rows.slice(from, from + state.size).map((row) => {
        const line = document.createElement("tr");
        if (samples.reasons[row]) line.className = "apart";
        all.forEach((one, i) => {
          const cell = document.createElement(i ? "td" : "th");
          if (!i) cell.scope = "row";
          cell.className = one.numeric ? "number" : one.id ? "id" : one.reason ? "reason" : "";
          const full = text(one, row);
          cell.textContent = one.id && full.length > 60 ? `${full.slice(0, 40)}…${full.slice(-16)}` : full;
          if (cell.textContent !== full) cell.title = full;
          line.append(cell);
        });
        return line;
      }),
    );
    byId("page").textContent = `Page ${(state.page + 1).toLocaleString("en")} of ${pages.toLocaleString("en")}`;
    byId("previous").disabled = state.page === 0;
    byId("next").disabled = state.page >= pages - 1;
    const selected = rows.length.toLocaleString("en");
    byId("found").textContent =
      rows.length === n ? `${selected} sample${n === 1 ? "" : "s"}` : `${selected} of ${n.toLocaleString("en")} samples`;
  }

  head.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const i = Number(button.dataset.column);
    state.down = state.sort === i && !state.down;
    state.sort = i;
    header();
    select();
    head.querySelectorAll("button")[i].focus();
  });
  let waiting = 0;
  byId("find").addEventListener("input", (event) => {
    state.query = event.target.value;
    clearTimeout(waiting);
    waiting = setTimeout(select, 120);
  });
  byId("size").addEventListener("change", (event) => {
    state.size = Number(event.target.value);
    state.page = 0;
    show();
  });
  if (byId("which")) {
    byId("which").addEventListener("change", (event) => {
      state.target = Number(event.target.value);
      state.sort = null;
      header();
      select();
    });
  }
  const turn = (step) => () => {
    state.page += step;
    show();
  };
  byId("previous").addEventListener("click", turn(-1));
  byId("next").addEventListener("click", turn(1));

  // Spreadsheets read text with one of these first characters as a formula; an apostrophe prevents it.
  const cell = (value) => {
    const plain = /^[=+\-@\t\r]/.test(value) && !/^[+-]?[\d.]+$/.test(value) ? "'" + value : value;
    return /[",\r\n;]/.test(plain) ? '"' + plain.replace(/"/g, '""') + '"' : plain;
  };
  function csv() {
    const all = [...first];
    targets.forEach((own, k) => {
      own.forEach((one) => all.push(Object.assign({}, one, { name: `${samples.targets[k].name}: ${one.name.toLowerCase()}` })));
    });
    all.push(...last);
    const lines = [all.map((one) => cell(one.name)).join(",")];
    for (let row = 0; row < n; row += 1) {
      lines.push(
        all
          .map((one) => {
            const value = one.value(row);
            return value === null ? "" : one.numeric ? value.toFixed(one.digits) : cell(value);
          })
          .join(","),
      );
    }
    return "\ufeff" + lines.join("\r\n") + "\r\n";
  }
  byId("download").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv;charset=utf-8" }));
    link.download = "samples.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });

  header();
  select();
})();
