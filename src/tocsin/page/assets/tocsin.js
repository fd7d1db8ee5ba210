// The page's own script: live updates, notices, confirmations, times in the reader's zone, theme and menu.
// Everything the page does works by links and forms; this makes it quick and keeps it up to date.
(function () {
  "use strict";

  const body = document.body;
  const find = (selector, from) => (from || document).querySelector(selector);
  const all = (selector, from) => Array.from((from || document).querySelectorAll(selector));
  const stored = (name, value) => {
    try {
      if (value === undefined) return localStorage.getItem(name);
      if (value) localStorage.setItem(name, value); else localStorage.removeItem(name);
    } catch (error) { /* forbidden: nothing is remembered */ }
    return null;
  };

  // ---- Notices -------------------------------------------------------------------------------------------------

  const TOAST_MS = 6000;

  function toast(text, kind) {
    const shown = document.createElement("div");
    shown.className = "toast " + (kind || "plain");
    const words = document.createElement("span");
    words.textContent = text;
    const close = document.createElement("button");
    close.type = "button";
    close.className = "quiet small";
    close.textContent = "Close";
    close.addEventListener("click", () => shown.remove());
    shown.append(words, close);
    find("#toasts").append(shown);
    if (kind !== "bad") setTimeout(() => shown.remove(), TOAST_MS);  // what went wrong stays until it is read
  }

  body.addEventListener("tocsin:toast", (event) => {
    const { text, kind, later } = event.detail;
    if (!later) return toast(text, kind);
    try { sessionStorage.setItem("tocsin.toast", JSON.stringify({ text, kind })); } catch (error) { /* not shown */ }
  });
  try {
    const waiting = sessionStorage.getItem("tocsin.toast");
    if (waiting) {
      sessionStorage.removeItem("tocsin.toast");
      const { text, kind } = JSON.parse(waiting);
      setTimeout(() => toast(text, kind), 50);  // a live region must be there before it changes
    }
  } catch (error) { /* nothing waits */ }

  body.addEventListener("htmx:sendError", () => toast("Tocsin can't be reached. Nothing was changed.", "bad"));
  body.addEventListener("htmx:responseError", (event) => {
    const request = event.detail.xhr;
    if (request.getResponseHeader("hx-trigger") || request.status === 401) return;  // it says so itself
    let detail = "";
    try { detail = JSON.parse(request.responseText).detail; } catch (error) { /* not a problem document */ }
    toast(detail || "That did not work (" + request.status + ").", "bad");
  });

  // ---- Confirmation: our own dialog in the place of the browser's ---------------------------------------------

  body.addEventListener("htmx:confirm", (event) => {
    const question = event.detail.question;
    if (!question) return;
    event.preventDefault();
    const dialog = find("#confirm");
    find("#confirm-text").textContent = question;
    dialog.returnValue = "no";
    dialog.addEventListener("close", () => {
      if (dialog.returnValue === "yes") event.detail.issueRequest(true);
    }, { once: true });
    dialog.showModal();
    find("#confirm-yes").focus();
  });
  // <button data-open="#id"> opens a dialog of the page; <button data-close> closes the one it is in.
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-open]");
    if (opener) find(opener.dataset.open).showModal();
    const closer = event.target.closest("[data-close]");
    if (closer) closer.closest("dialog").close();
  });

  // ---- Times ----------------------------------------------------------------------------------------------------

  const LOCAL = new Intl.DateTimeFormat(undefined, {
    year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
  });
  const SHORT = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
  const STEPS = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];

  function ago(seconds) {
    if (Math.abs(seconds) < 1) return "just now";
    let left = Math.round(Math.abs(seconds));
    const parts = [];
    for (const [size, name] of STEPS) {
      const count = Math.floor(left / size);
      left -= count * size;
      if (count) parts.push(count + name);
    }
    const text = parts.slice(0, Math.abs(seconds) < 3600 ? 1 : 2).join(" ");
    return seconds < 0 ? "in " + text : text + " ago";
  }

  function times(root) {
    const now = Date.now();
    for (const each of all("time[data-local]", root)) {
      const at = new Date(each.dateTime);
      const text = isNaN(at) ? each.textContent : (each.dataset.local === "short" ? SHORT : LOCAL).format(at);
      if (each.textContent !== text) each.textContent = text;
    }
    for (const each of all("time[data-ago]", root)) {
      const at = Date.parse(each.dateTime);
      const text = isNaN(at) ? each.textContent : ago((now - at) / 1000);
      if (each.textContent !== text) each.textContent = text;
    }
  }
  times();
  setInterval(times, 10000);

  // ---- Parts of the page that follow what happens ---------------------------------------------------------------

  // <section data-live="alert state tick">: asked for again when one of these happens, at most this often.
  const PAUSE_MS = 400;
  const TICK_MS = 5000;
  const waiting = new Set();
  let pending = null;
  let last = 0;

  let leaving = false;  // an answer led elsewhere: what is shown here may be gone
  body.addEventListener("htmx:beforeOnLoad", (event) => {
    if (event.detail.xhr.getResponseHeader("hx-redirect")) leaving = true;
  });
  window.addEventListener("pageshow", () => { leaving = false; });

  function refresh() {
    if (leaving || find("form.htmx-request")) { pending = setTimeout(refresh, PAUSE_MS); return; }
    pending = null;
    last = Date.now();
    const kinds = Array.from(waiting);
    waiting.clear();
    for (const each of all("[data-live]")) {
      const wanted = each.dataset.live.split(" ");
      if (kinds.some((kind) => kind === "all" || wanted.includes(kind))) htmx.trigger(each, "tocsin:live");
    }
  }
  function happened(kind) {
    waiting.add(kind);
    if (pending === null && !document.hidden) {
      pending = setTimeout(refresh, Math.max(0, PAUSE_MS - (Date.now() - last)));
    }
  }
  body.addEventListener("tocsin:changed", (event) => happened((event.detail && event.detail.kind) || "all"));

  if (window.Idiomorph) {
    // What the reader opened stays open; what scripts drew stays drawn; what is being typed stays typed.
    Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) =>
      !(name === "open" && /^(DETAILS|DIALOG)$/.test(node.tagName));
    Idiomorph.defaults.callbacks.beforeNodeMorphed = (old, fresh) => {
      if (old.nodeType !== 1) return true;
      if (old.hasAttribute("data-keep")) return false;
      if (old === document.activeElement && /^(INPUT|TEXTAREA|SELECT)$/.test(old.tagName)) return false;
      if (!old.hasAttribute("data-chart") || !fresh.hasAttribute("data-chart")) return true;
      old.setAttribute("data-chart", fresh.getAttribute("data-chart"));
      old.setAttribute("aria-label", fresh.getAttribute("aria-label"));
      return false;
    };
  }
  body.addEventListener("htmx:afterSettle", (event) => {
    times(event.target);
    if (window.TocsinCharts) TocsinCharts.draw(event.target);
  });

  function announce(data) {
    if (data.event !== "firing" && data.event !== "resolved") return;
    const group = Object.values(data.group || {}).join(", ");
    const words = data.rule + (group ? " for " + group : "") + (data.event === "firing" ? " is firing" : " is resolved");
    const line = document.createElement("p");
    line.textContent = words;
    const log = find("#announcer");
    log.append(line);
    while (log.children.length > 20) log.firstChild.remove();
    if (data.event === "firing" && !data.shadow) toast(words, "bad-soft");
  }

  let source = null;
  let lost = true;  // at first, too: something may have happened since the page was made

  function linkState(state, text) {
    for (const each of all("[data-link-state]")) {
      each.dataset.linkState = state;
      find("[data-link-text]", each).textContent = text;
    }
  }
  function listen() {
    if (source || !body.dataset.events) return;
    source = new EventSource(body.dataset.events);
    source.addEventListener("open", () => {
      linkState("live", "live");
      if (lost) happened("all");
      lost = false;
    });
    source.addEventListener("error", () => {
      lost = true;
      linkState("lost", "not connected");
      if (source && source.readyState === EventSource.CLOSED) {  // refused: the browser does not try again by itself
        source = null;
        setTimeout(listen, 5000);
      }
    });
    source.addEventListener("alert", (event) => { announce(JSON.parse(event.data)); happened("alert"); });
    source.addEventListener("state", () => happened("state"));
    source.addEventListener("gap", () => happened("all"));
  }
  function deafen() {
    if (source) source.close();
    source = null;
    lost = true;
  }
  // A browser has few connections to one host: a tab that nobody looks at needs none.
  document.addEventListener("visibilitychange", () => (document.hidden ? deafen() : listen()));
  window.addEventListener("pagehide", deafen);
  window.addEventListener("pageshow", () => { if (!document.hidden) listen(); });
  if (!document.hidden) listen();
  setInterval(() => { if (!document.hidden) happened("tick"); }, TICK_MS);

  // ---- Long work: answers as lines of JSON, progress first ------------------------------------------------------

  // <button data-stream="URL" data-into="#id"> (or a form): posts its form, shows the progress, then the "html" that
  // comes last. Begun again, or left, what is under way ends in the service, too.
  const streams = new Map();

  async function stream(from, form) {
    const into = find(from.dataset.into);
    if (streams.has(into)) streams.get(into).abort();
    const stop = new AbortController();
    streams.set(into, stop);
    const bar = document.createElement("progress");
    bar.max = 1;
    bar.setAttribute("aria-label", "How much of the recorded history is read");
    const cancel = document.createElement("button");
    cancel.type = "button";
    cancel.className = "quiet small";
    cancel.textContent = "Stop";
    cancel.addEventListener("click", () => { stop.abort(); into.textContent = "Stopped."; });
    const line = document.createElement("p");
    line.className = "progress";
    line.append("Reading what was recorded … ", bar, cancel);
    into.replaceChildren(line);
    try {
      const answer = await fetch(from.dataset.stream, {
        method: "POST", body: new URLSearchParams(new FormData(form)), signal: stop.signal, headers: { "hx-request": "true" },
      });
      if (!answer.ok) {
        let said = {};
        try { said = JSON.parse(answer.headers.get("hx-trigger") || "{}")["tocsin:toast"] || await answer.json(); } catch (error) { /* nothing said */ }
        throw new Error(said.text || said.detail || "That did not work (" + answer.status + ").");
      }
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        for (const each of lines) {
          const said = JSON.parse(each);
          if (said.progress) bar.value = said.progress.done;
          if (said.html === undefined) continue;
          into.innerHTML = said.html;  // rendered by us, with everything escaped; scripts in it would not run
          times(into);
          if (window.TocsinCharts) TocsinCharts.draw(into);
          into.scrollIntoView({ block: "nearest" });
        }
      }
    } catch (error) {
      if (error.name !== "AbortError") into.textContent = error.message;
    }
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-stream]");
    if (button) stream(button, button.form);
  });
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-stream]")) return;
    event.preventDefault();
    stream(event.target, event.target);
  });

  // ---- Theme and menu -------------------------------------------------------------------------------------------

  for (const choice of all("[data-theme-choice]")) {
    choice.value = stored("tocsin.theme") || "";
    choice.addEventListener("change", () => {
      stored("tocsin.theme", choice.value);
      if (choice.value) document.documentElement.dataset.theme = choice.value;
      else delete document.documentElement.dataset.theme;
      if (window.TocsinCharts) TocsinCharts.redraw();
    });
  }
  for (const button of all("[data-menu]")) {
    const shut = () => { button.setAttribute("aria-expanded", "false"); find("#nav").classList.remove("shown"); };
    button.addEventListener("click", () => {
      const shown = find("#nav").classList.toggle("shown");
      button.setAttribute("aria-expanded", String(shown));
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && button.getAttribute("aria-expanded") === "true") { shut(); button.focus(); }
    });
  }
})();
