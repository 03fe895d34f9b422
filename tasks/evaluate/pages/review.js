"use strict";
// Marks live in this page (and in the browser's storage, under the sheet's digest) until they are
// exported. Texts of data and people are only ever set as text.
(() => {
  const sheet = JSON.parse(document.getElementById("sheet-data").textContent);
  const MARKS = ["A", "tie", "B"];
  const WORDS = { A: "A is better", tie: "tie", B: "B is better" };
  const PLACE = `perpetune review ${sheet.digest}`;
  const $ = (id) => document.getElementById(id);
  const articles = [...document.querySelectorAll("article.item")];
  if (!articles.length) return;
  // Once the key is shown, marks are frozen; marks of whoever then starts anew are not blind.
  const state = { marks: {}, notes: {}, revealed: false, blind: true };
  let current = 0;
  let saved = true; // whether what is here is in the storage or exported

  // Storage

  let storage = null;
  try {
    window.localStorage.setItem("perpetune probe", "1");
    window.localStorage.removeItem("perpetune probe");
    storage = window.localStorage;
  } catch {
    $("no-storage").hidden = false;
  }

  function keep() {
    saved = false;
    if (!storage) return;
    try {
      storage.setItem(PLACE, JSON.stringify(state));
      saved = true;
    } catch {
      storage = null;
      $("no-storage").hidden = false;
    }
  }

  function restore() {
    if (!storage) return;
    try {
      const kept = JSON.parse(storage.getItem(PLACE) || "{}");
      for (const article of articles) {
        const number = article.dataset.item;
        if (MARKS.includes(kept.marks?.[number])) state.marks[number] = kept.marks[number];
        if (typeof kept.notes?.[number] === "string") state.notes[number] = kept.notes[number];
      }
      state.revealed = kept.revealed === true;
      state.blind = kept.blind !== false;
    } catch {
      say("The marks that were kept here are damaged and were left out.");
    }
  }

  // Showing

  const marked = () => Object.keys(state.marks).length;

  function say(text) {
    $("said").textContent = "";
    requestAnimationFrame(() => { $("said").textContent = text; });
  }

  function show(article) {
    const number = article.dataset.item;
    const mark = state.marks[number];
    for (const button of article.querySelectorAll("[data-mark]")) {
      button.setAttribute("aria-pressed", String(button.dataset.mark === mark));
      button.disabled = state.revealed;
    }
    article.classList.toggle("done", mark !== undefined);
    const note = article.querySelector("textarea");
    if (note.value !== (state.notes[number] || "")) note.value = state.notes[number] || "";
    note.hidden = !state.notes[number] && document.activeElement !== note;
    article.querySelector(".to-note").setAttribute("aria-expanded", String(!note.hidden));
    for (const side of ["A", "B"]) {
      const answer = article.querySelector(`[data-side="${side}"]`);
      const system = sheet.key[number][side];
      answer.querySelector(".who").textContent = state.revealed ? sheet.names[system] : "";
      answer.classList.toggle("preferred", mark === side);
      answer.classList.toggle("candidate-side", state.revealed && system === "candidate");
    }
    for (const hidden of article.querySelectorAll(".after")) hidden.hidden = !state.revealed;
  }

  function showAll() {
    articles.forEach(show);
    const done = marked();
    $("progress-text").textContent = `${done} of ${articles.length} marked`;
    $("progress").value = done;
    $("start-count").textContent = done
      ? `${done} of ${articles.length} items are marked.`
      : `${articles.length} items, about ${Math.max(1, Math.round(articles.length / 4))} minutes.`;
    $("reveal").hidden = state.revealed;
    $("result").hidden = !state.revealed;
    $("not-blind").hidden = state.blind;
    document.body.classList.toggle("revealed", state.revealed);
    if (state.revealed) showResult();
  }

  // The exact two-sided sign test: by symmetry twice the smaller tail of Binomial(n, 1/2).
  function signTest(wins, losses) {
    const n = wins + losses;
    const few = Math.min(wins, losses);
    if (!n) return 1;
    let term = Math.pow(0.5, n);
    let tail = 0;
    for (let k = 0; k <= few; k += 1) {
      tail += term;
      term *= (n - k) / (k + 1);
    }
    return Math.min(1, 2 * tail);
  }

  function showResult() {
    const counts = { win: 0, tie: 0, loss: 0 };
    for (const [number, mark] of Object.entries(state.marks)) {
      const system = sheet.key[number][mark];
      counts[mark === "tie" ? "tie" : system === "candidate" ? "win" : "loss"] += 1;
    }
    const p = signTest(counts.win, counts.loss);
    $("wins").textContent = counts.win;
    $("ties").textContent = counts.tie;
    $("losses").textContent = counts.loss;
    const total = Math.max(1, counts.win + counts.tie + counts.loss);
    for (const outcome of ["win", "tie", "loss"]) {
      $(`bar-${outcome}`).style.flexGrow = counts[outcome] / total;
    }
    const shown = p < 0.0001 ? "below 0.0001" : p.toPrecision(2);
    $("p-value").textContent = counts.win + counts.loss
      ? `Two-sided exact sign test, ties left out: p ${shown}.` +
        (p < 0.05 ? "" : " These marks do not tell the two apart.")
      : "Without a win or a loss there is nothing to test.";
  }

  // Acting

  function go(index, focus = true) {
    const to = Math.min(articles.length - 1, Math.max(0, index));
    articles[current].classList.remove("current");
    articles[current].removeAttribute("aria-current");
    current = to;
    const article = articles[current];
    article.classList.add("current");
    article.setAttribute("aria-current", "true");
    if (focus) {
      article.focus({ preventScroll: true });
      article.scrollIntoView({ block: "start" });
    }
  }

  function setMark(index, mark, advance) {
    if (state.revealed) {
      say("The key is shown: marks can no longer be changed.");
      return;
    }
    const number = articles[index].dataset.item;
    if (state.marks[number] === mark) delete state.marks[number];
    else state.marks[number] = mark;
    keep();
    showAll();
    const now = state.marks[number];
    say(`Item ${number}: ${now ? WORDS[now] : "no mark"}. ${marked()} of ${articles.length} marked.`);
    if (!advance || !now) return;
    const open = (i) => state.marks[articles[i].dataset.item] === undefined;
    const rest = [...articles.keys()].map((i) => (index + 1 + i) % articles.length);
    const next = rest.find(open);
    if (next !== undefined) go(next);
  }

  function openNote(index) {
    const note = articles[index].querySelector("textarea");
    note.hidden = false;
    articles[index].querySelector(".to-note").setAttribute("aria-expanded", "true");
    note.focus();
  }

  function view(name) {
    document.body.dataset.view = name;
    const marking = name === "mark";
    $("toggle").textContent = marking ? "Show the verdict" : "Hide the verdict";
    $("toggle").setAttribute("aria-pressed", String(marking));
    try {
      history.replaceState(null, "", marking ? "#mark" : " ");
    } catch { /* in a frame without an address of its own */ }
  }

  function startMarking() {
    view("mark");
    const first = articles.findIndex((item) => state.marks[item.dataset.item] === undefined);
    go(first < 0 ? 0 : first);
  }

  function exported() {
    const marks = articles
      .map((article) => article.dataset.item)
      .filter((number) => state.marks[number] !== undefined || state.notes[number])
      .map((number) => ({
        item: Number(number),
        mark: state.marks[number] ?? null,
        note: state.notes[number] || "",
      }));
    return JSON.stringify(
      { format: 1, model: sheet.model, sheet: sheet.digest, blind: state.blind, marks }, null, 1
    ) + "\n";
  }

  function imported(text) {
    let value;
    try {
      value = JSON.parse(text);
    } catch {
      return "This file is no JSON: choose one that this page exported.";
    }
    if (value?.format !== 1 || !Array.isArray(value.marks)) {
      return "This file holds no exported marks: choose one that this page exported.";
    }
    if (value.sheet !== sheet.digest) return "These marks belong to another review sheet.";
    if (state.revealed) return "The key is shown: marks can no longer be changed. Start anew first.";
    const marks = {};
    const notes = {};
    for (const entry of value.marks) {
      const known = Object.hasOwn(sheet.key, String(entry?.item));
      if (!known || !(entry.mark === null || MARKS.includes(entry.mark))) {
        return `Item ${String(entry?.item).slice(0, 20)} is unknown or wrongly marked: nothing was imported.`;
      }
      if (entry.mark) marks[entry.item] = entry.mark;
      if (typeof entry.note === "string" && entry.note) notes[entry.item] = entry.note.slice(0, 2000);
    }
    state.marks = marks;
    state.notes = notes;
    state.blind = state.blind && value.blind === true;
    keep();
    showAll();
    return `Imported: ${marked()} of ${articles.length} marked.`;
  }

  // Wiring

  articles.forEach((article, index) => {
    article.addEventListener("focusin", () => { if (index !== current) go(index, false); });
    article.addEventListener("pointerdown", () => { if (index !== current) go(index, false); });
    for (const button of article.querySelectorAll("[data-mark]")) {
      button.addEventListener("click", () => setMark(index, button.dataset.mark, false));
    }
    article.querySelector(".to-note").addEventListener("click", () => openNote(index));
    const note = article.querySelector("textarea");
    note.addEventListener("input", () => {
      state.notes[article.dataset.item] = note.value;
      keep();
    });
    note.addEventListener("blur", () => show(article));
    note.addEventListener("keydown", (event) => {
      if (event.key === "Escape") article.focus();
    });
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (document.querySelector("dialog[open]")) return;
    const target = event.target;
    if (target.closest("textarea, input, select")) return;
    const arrows = document.body.dataset.view === "mark" || target.closest("article.item");
    const scrolls = target.closest(".text");
    const { key } = event;
    if (key === "j" || (key === "ArrowDown" && arrows && !scrolls)) go(current + started());
    else if (key === "k" || (key === "ArrowUp" && arrows && !scrolls)) go(current - 1);
    else if (["1", "2", "3"].includes(key)) setMark(current, MARKS[Number(key) - 1], true);
    else if (key === "n") openNote(current);
    else return;
    event.preventDefault();
  });

  // The first `j` goes to the item that is current already, if no item has the focus.
  const started = () => (articles[current].contains(document.activeElement) ? 1 : 0);

  const dialogs = (name) => {
    const dialog = $(name);
    dialog.querySelector(".close").addEventListener("click", () => dialog.close());
    return dialog;
  };
  const revealing = dialogs("reveal-dialog");
  const exporting = dialogs("export-dialog");
  const restarting = dialogs("restart-dialog");

  $("start").addEventListener("click", startMarking);
  $("toggle").addEventListener("click", () => {
    if (document.body.dataset.view === "mark") {
      view("all");
      window.scrollTo(0, 0);
    } else startMarking();
  });
  $("reveal").addEventListener("click", () => {
    const open = articles.length - marked();
    $("reveal-open").textContent = open
      ? `${open} of ${articles.length} items are not marked yet.`
      : "All items are marked.";
    revealing.showModal();
  });
  $("reveal-yes").addEventListener("click", () => {
    state.revealed = true;
    keep();
    showAll();
    revealing.close();
    $("result").focus();
    $("result").scrollIntoView({ block: "start" });
  });
  $("restart").addEventListener("click", () => restarting.showModal());
  $("restart-yes").addEventListener("click", () => {
    state.marks = {};
    state.notes = {};
    if (state.revealed) state.blind = false;
    state.revealed = false;
    keep();
    showAll();
    restarting.close();
    go(0);
  });
  $("export").addEventListener("click", () => {
    $("exported").value = exported();
    $("export-open").textContent = `${marked()} of ${articles.length} items are marked.`;
    exporting.showModal();
    $("download").focus();
  });
  $("download").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([$("exported").value], { type: "application/json" }));
    link.download = `marks-${sheet.digest.slice(0, 12)}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    saved = true;
  });
  $("copy").addEventListener("click", async () => {
    $("exported").select();
    try {
      await navigator.clipboard.writeText($("exported").value);
    } catch {
      document.execCommand("copy");
    }
    saved = true;
    say("Copied.");
  });
  $("import").addEventListener("change", async (event) => {
    const file = event.target.files[0];
    if (!file) return;
    const text = await file.text();
    event.target.value = "";
    const said = imported(text);
    $("import-said").textContent = said;
    $("import-said").hidden = false;
    say(said);
  });
  window.addEventListener("beforeunload", (event) => {
    if (!saved && !storage && marked()) event.preventDefault();
  });

  restore();
  document.body.classList.add("scripted");
  for (const part of document.querySelectorAll(".scripted-only")) part.hidden = false;
  showAll();
  go(0, false);
  if (location.hash === "#mark") startMarking();
})();
