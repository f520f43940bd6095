"use strict";
// The list of videos: rows are drawn as they come into view. Texts from the table only ever become text nodes.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const NOTHING = 65535, ERROR = 65534;
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const labelBytes = bytes(data.labels_of_cells), scores = bytes(data.scores_of_cells);
  const cellLabels = new Uint16Array(scores.length);
  for (let i = 0; i < cellLabels.length; i++) cellLabels[i] = labelBytes[2 * i] | (labelBytes[2 * i + 1] << 8);

  let next = 0;
  const videos = data.videos.map(([name, cells, perCell, predictions, sum, times, errors, kind, error], index) => {
    const first = next;
    next += cells;
    const ends = times.length === 4 ? times[3] : Math.max(0, ...(times[0] || []).map((ms) => (ms || 0) / 1000));
    return {
      href: hrefOf(name, index), name, first, cells, perCell, predictions, times, errors, kind, error, seconds: times.length ? ends : 0,
      mean: predictions ? sum / predictions : 0, lower: name.toLowerCase(), ...mostSeen(first, cells),
    };
  });

  // The file of a video on this machine, if it is known.
  function hrefOf(name, index) {
    const own = data.others[index];
    if (own !== undefined || data.base === null) return own || null;
    return `${data.base}/${name.split("/").map(encodeURIComponent).join("/")}`;
  }

  // The label of most cells, of equals the first by its number of clips, with its best score.
  function mostSeen(first, cells) {
    const counts = new Map(), best = new Map();
    for (let i = first; i < first + cells; i++) {
      const label = cellLabels[i];
      if (label >= ERROR) continue;
      counts.set(label, (counts.get(label) || 0) + 1);
      best.set(label, Math.max(best.get(label) || 0, scores[i]));
    }
    let label = -1;
    for (const [one, count] of counts)
      if (label < 0 || count > counts.get(label) || (count === counts.get(label) && one < label)) label = one;
    return { label, best: label < 0 ? 0 : best.get(label) / 255, top: Math.max(0, ...best.values()) / 255 };
  }

  const byId = (id) => document.getElementById(id);
  const make = (tag, text, className) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  };
  const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
  const percent = (share) => `${Math.round(100 * share)} %`;
  const clock = (seconds) => {
    const tenths = Math.round(seconds * 10), h = Math.floor(tenths / 36000), m = Math.floor(tenths / 600) % 60;
    const s = ((tenths % 600) / 10).toFixed(1).padStart(4, "0");
    return h ? `${h}:${String(m).padStart(2, "0")}:${s}` : `${m}:${s}`;
  };
  const labelOf = (cell) =>
    cellLabels[cell] === ERROR ? "error" : cellLabels[cell] === NOTHING ? "no clip" : data.labels[cellLabels[cell]];

  function timeOf(video, index) {
    const times = video.times;
    if (!times.length) return null;
    if (times.length === 4) {
      const start = times[0] + index * times[1];
      return [start, index === video.cells - 1 ? times[3] : start + times[2]];
    }
    const [start, end] = times[0].slice(2 * index, 2 * index + 2);
    return start === null || end === null ? null : [start / 1000, end / 1000];
  }

  // Colours: the first ten classes have one each; after that they come again, and the text says which it is.
  let palette = [];
  function readColours() {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    palette = Array.from({ length: 10 }, (_, i) => of(`--c${i}`));
    palette.none = of("--none");
    palette.bad = of("--bad");
  }
  function paint(canvas, video, marked) {
    const ratio = window.devicePixelRatio || 1, box = canvas.getBoundingClientRect();
    const width = (canvas.width = Math.max(1, Math.round(box.width * ratio)));
    const height = (canvas.height = Math.max(1, Math.round(box.height * ratio)));
    const draw = canvas.getContext("2d");
    draw.fillStyle = palette.none;
    draw.fillRect(0, 0, width, height);
    for (let i = 0; i < video.cells; i++) {
      const cell = video.first + i, left = Math.floor((i * width) / video.cells);
      const right = Math.max(left + 1, Math.floor(((i + 1) * width) / video.cells));
      const label = cellLabels[cell];
      if (label === NOTHING) continue;
      draw.globalAlpha = label === ERROR ? 1 : 0.25 + (0.75 * scores[cell]) / 255;
      draw.fillStyle = label === ERROR ? palette.bad : palette[label % 10];
      if (label === ERROR) draw.fillRect(left, Math.floor(height * 0.4), right - left, Math.ceil(height * 0.2));
      else draw.fillRect(left, 0, right - left, height);
    }
    draw.globalAlpha = 1;
    if (marked !== undefined && video.cells) {
      draw.fillStyle = getComputedStyle(document.body).color;
      draw.fillRect(Math.round(((marked + 0.5) * width) / video.cells) - ratio, 0, 2 * ratio, height);
    }
  }

  // Filters.
  const search = byId("search"), labelChoice = byId("label"), least = byId("least");
  const errorChoice = byId("errors"), sort = byId("sort"), down = byId("down");
  const option = (parent, value, text) => {
    const one = make("option", text);
    one.value = value;
    parent.append(one);
  };
  data.labels.forEach((label, i) => option(labelChoice, String(i), label));
  data.kinds.forEach((kind) => option(errorChoice, `=${kind}`, kind));

  function bestOf(video, label) {
    if (label < 0) return video.top;
    let best = -1;
    for (let i = video.first; i < video.first + video.cells; i++)
      if (cellLabels[i] === label && scores[i] > best) best = scores[i];
    return best / 255;
  }
  let shown = [];
  function choose() {
    const text = search.value.trim().toLowerCase(), errors = errorChoice.value;
    const label = labelChoice.value === "" ? -1 : Number(labelChoice.value), low = Number(least.value) || 0;
    shown = [];
    for (const video of videos) {
      if (text && !video.lower.includes(text)) continue;
      if (errors === "none" && video.errors) continue;
      if (errors === "some" && !video.errors) continue;
      if (errors.startsWith("=") && video.kind !== errors.slice(1)) continue;
      video.chosen = bestOf(video, label);
      if (label >= 0 && video.chosen < 0) continue;
      if (low > 0 && video.chosen < low - 0.002) continue;
      shown.push(video);
    }
    const key = {
      name: null, score: (v) => v.chosen, mean: (v) => v.mean, clips: (v) => v.predictions + v.errors,
      seconds: (v) => v.seconds, errors: (v) => v.errors,
    }[sort.value];
    if (key) shown.sort((a, b) => key(a) - key(b));
    if (down.checked) shown.reverse();
    active = 0;
    scroll.scrollTop = 0;
    byId("found").textContent = `${shown.length.toLocaleString("en")} of ${count(videos.length, "video")}`;
    draw(true);
  }

  // The list.
  const scroll = byId("scroll"), list = byId("list");
  let active = 0, rows = new Map(), rowHeight = 44;
  function draw(anew) {
    if (anew) {
      list.replaceChildren();
      rows = new Map();
      rowHeight = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row")) || 44;
      list.style.height = `${shown.length * rowHeight}px`;
    }
    const first = Math.max(0, Math.floor(scroll.scrollTop / rowHeight) - 5);
    const last = Math.min(shown.length, Math.ceil((scroll.scrollTop + scroll.clientHeight) / rowHeight) + 5);
    const wanted = new Set();
    for (let i = first; i < last; i++) wanted.add(i);
    if (active < shown.length) wanted.add(active);
    for (const [i, row] of rows) if (!wanted.has(i)) (row.remove(), rows.delete(i));
    const added = [];
    for (const i of [...wanted].sort((a, b) => a - b)) {
      if (rows.has(i)) continue;
      const row = rowOf(i);
      let after = null;
      for (const [j, other] of rows) if (j > i && (after === null || j < after)) after = j;
      list.insertBefore(row, after === null ? null : rows.get(after));
      rows.set(i, row);
      added.push([row.querySelector("canvas"), shown[i]]);
    }
    for (const [canvas, video] of added) paint(canvas, video);
    for (const [i, row] of rows) row.firstChild.tabIndex = i === active ? 0 : -1;
  }
  function rowOf(i) {
    const video = shown[i], row = make("li"), button = make("button", undefined, "row");
    row.style.transform = `translateY(${i * rowHeight}px)`;
    row.setAttribute("aria-setsize", shown.length);
    row.setAttribute("aria-posinset", i + 1);
    button.type = "button";
    const what = video.label < 0 ? video.kind || "no prediction" : `${data.labels[video.label]} ${percent(video.best)}`;
    const name = make("span", undefined, "name"), cut = video.name.lastIndexOf("/") + 1, said = make("span", what, `what${video.label < 0 ? " bad" : ""}`);
    name.dir = said.dir = "auto";
    name.append(make("span", video.name.slice(0, cut), "folder"), make("span", video.name.slice(cut), "file"));
    const canvas = make("canvas");
    canvas.setAttribute("aria-hidden", "true");
    const clips = count(video.predictions, "clip"), errors = count(video.errors, "error");
    button.append(  // with blanks between, for who hears it
      name, " ", canvas, said, " ", make("span", clips, "n"), " ", make("span", video.errors ? errors : "", "n"), " ",
      make("span", video.seconds ? clock(video.seconds) : "", "n"));
    button.addEventListener("click", () => (activate(i, false), open(video)));
    row.append(button);
    return row;
  }
  function activate(i, focus) {
    active = Math.max(0, Math.min(shown.length - 1, i));
    const top = active * rowHeight;
    if (top < scroll.scrollTop) scroll.scrollTop = top;
    else if (top + rowHeight > scroll.scrollTop + scroll.clientHeight)
      scroll.scrollTop = top + rowHeight - scroll.clientHeight;
    draw(false);
    if (focus && rows.has(active)) rows.get(active).firstChild.focus({ preventScroll: true });
  }
  list.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(scroll.clientHeight / rowHeight) - 1);
    const to = {
      ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + page, PageUp: active - page, Home: 0,
      End: shown.length - 1,
    }[event.key];
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    activate(to, true);
  });
  let isDue = false;
  scroll.addEventListener("scroll", () => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => ((isDue = false), draw(false)));
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || detail.open) return;
    if (/^(input|select|textarea)$/i.test(event.target.tagName)) return;
    event.preventDefault();
    search.focus();
  });

  // One video.
  const detail = byId("detail"), strip = byId("strip"), canvas = strip.querySelector("canvas");
  let opened = null, moment = 0;
  function open(video) {
    opened = video;
    byId("detail-title").textContent = video.name;
    const facts = [count(video.predictions, "prediction"), count(video.errors, "error row")];
    if (video.seconds) facts.push(`up to ${clock(video.seconds)}`);
    if (video.perCell > 1) facts.push(`each block is ${video.perCell} clips, and shows the best one`);
    byId("detail-facts").textContent = facts.join(", ");
    byId("detail-error").textContent = video.errors ? `${video.kind}: ${video.error}` : "";
    byId("link").hidden = !video.href;
    strip.hidden = !video.cells;
    strip.setAttribute("aria-valuemax", Math.max(0, video.cells - 1));
    byId("stretches").replaceChildren(tableOf(video));
    byId("stretches").hidden = !video.cells;
    detail.showModal();
    detail.scrollTop = 0;
    mark(0);
  }
  function mark(index) {
    if (opened.href) byId("link").href = opened.href;
    if (!opened.cells) return (byId("moment").textContent = "");
    moment = Math.max(0, Math.min(opened.cells - 1, index));
    const cell = opened.first + moment, time = timeOf(opened, moment);
    const when = time ? `${clock(time[0])} to ${clock(time[1])}` : `clip ${moment * opened.perCell}`;
    const what = cellLabels[cell] >= ERROR ? labelOf(cell) : `${labelOf(cell)}, ${percent(scores[cell] / 255)}`;
    byId("moment").textContent = `${when}: ${what}`;
    if (opened.href && time) byId("link").href = `${opened.href}#t=${time[0].toFixed(1)}`;
    strip.setAttribute("aria-valuenow", moment);
    strip.setAttribute("aria-valuetext", `${when}: ${what}`);
    paint(canvas, opened, moment);
  }
  // Neighbours of the same label are one stretch.
  function stretchesOf(video) {
    const found = [];
    for (let i = 0; i < video.cells; i++) {
      const cell = video.first + i, last = found[found.length - 1];
      if (last && last.label === cellLabels[cell]) {
        last.end = i;
        if (scores[cell] > scores[video.first + last.best]) last.best = i;
      } else found.push({ label: cellLabels[cell], start: i, end: i, best: i });
    }
    return found;
  }
  function tableOf(video) {
    const table = make("table"), head = make("tr"), body = make("tbody");
    for (const name of ["from", "to", "class", "best score"]) {
      const cell = make("th", name);
      cell.scope = "col";
      head.append(cell);
    }
    table.append(make("thead"), body);
    table.firstChild.append(head);
    for (const stretch of stretchesOf(video)) {
      const row = make("tr"), from = timeOf(video, stretch.start), to = timeOf(video, stretch.end);
      const label = make("th", labelOf(video.first + stretch.start));
      label.scope = "row";
      label.dir = "auto";
      const score = stretch.label >= ERROR ? "" : percent(scores[video.first + stretch.best] / 255);
      const begin = make("td"), when = from ? clock(from[0]) : "";
      if (from && video.href) {
        const link = make("a", when);
        link.href = `${video.href}#t=${from[0].toFixed(1)}`;
        link.target = "_blank";
        link.rel = "noopener";
        begin.append(link);
      } else begin.textContent = when;
      row.append(begin, make("td", to ? clock(to[1]) : ""), label, make("td", score));
      body.append(row);
    }
    return table;
  }
  const place = (event) => {
    const box = strip.getBoundingClientRect();
    return Math.floor(((event.clientX - box.left) / box.width) * opened.cells);
  };
  strip.addEventListener("pointermove", (event) => mark(place(event)));
  strip.addEventListener("pointerdown", (event) => mark(place(event)));
  strip.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.round(opened.cells / 10));
    const to = {
      ArrowRight: moment + 1, ArrowLeft: moment - 1, ArrowUp: moment + 1, ArrowDown: moment - 1, PageUp: moment + page,
      PageDown: moment - page, Home: 0, End: opened.cells - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    mark(to);
  });
  byId("close").addEventListener("click", () => detail.close());
  detail.addEventListener("close", () => activate(active, true));

  function legend() {
    const parts = data.labels.slice(0, 10).map((label, i) => {
      const part = make("span"), swatch = make("i"), text = make("span", label);
      swatch.style.background = palette[i];
      text.dir = "auto";
      part.append(swatch, text);
      return part;
    });
    if (data.labels.length > 10) parts.push(make("span", "further classes have these colours again"));
    byId("legend").replaceChildren(...parts);
  }
  function restyle() {
    readColours();
    legend();
    draw(true);
    if (detail.open) mark(moment);
  }
  for (const control of [search, least]) control.addEventListener("input", choose);
  for (const control of [labelChoice, errorChoice, sort, down]) control.addEventListener("change", choose);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
  window.addEventListener("resize", restyle);
  readColours();
  legend();
  choose();
  document.documentElement.dataset.ready = "yes";
})();
