"""The script of all pages: copy buttons, rewriting while one types, live figures. Every page works without it.

A module and not a file, because a Worker cannot read files.
"""

SCRIPT = """\
"use strict";
(() => {
  const words = document.body.dataset;

  // browsers offer the clipboard only to pages with TLS; the older way is for the others
  const copyText = async (element) => {
    if (navigator.clipboard) return navigator.clipboard.writeText(element.textContent);
    getSelection().selectAllChildren(element);
    if (!document.execCommand("copy")) throw new Error("not copied");
    getSelection().removeAllRanges();
  };
  const addCopyButton = (command) => {
    if (command.querySelector("button")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = words.copy;
    button.addEventListener("click", async () => {
      try {
        await copyText(command.querySelector("code"));
        button.textContent = words.copied;
      } catch {
        button.textContent = words.notCopied;
      }
      setTimeout(() => { button.textContent = words.copy; }, 2000);
    });
    command.classList.add("has-copy");
    command.append(button);
  };
  const addCopyButtons = (root) => root.querySelectorAll(".command").forEach(addCopyButton);
  addCopyButtons(document);

  // what is typed goes where the form goes, and the same part of the page comes back
  const form = document.querySelector("form[data-live]");
  if (form) {
    const field = form.querySelector("textarea");
    const result = document.getElementById(form.dataset.live);
    const fit = () => { field.rows = Math.min(24, Math.max(1, field.value.split("\\n").length)); };
    let running = null;
    let timer = 0;
    const ask = async () => {
      if (running) running.abort();
      running = new AbortController();
      try {
        const answer = await fetch(form.action, {
          method: "POST", body: new URLSearchParams(new FormData(form)), signal: running.signal,
          headers: { "X-Requested-Part": form.dataset.live },
        });
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const part = page.getElementById(form.dataset.live);
        if (part) {
          result.replaceChildren(...part.childNodes);
          addCopyButtons(result);
        }
      } catch (error) {
        if (error.name !== "AbortError") form.querySelector("button").hidden = false;
      }
    };
    field.addEventListener("input", () => {
      fit();
      clearTimeout(timer);
      timer = setTimeout(ask, 150);
    });
    fit();
    form.querySelector("button").hidden = true;
  }

  // live figures: the server sends the part of the page anew
  document.querySelectorAll("[data-events]").forEach((part) => {
    const source = new EventSource(part.dataset.events);
    source.addEventListener("message", (event) => {
      if (part.contains(document.activeElement) || !document.getSelection().isCollapsed) return; // somebody reads there
      const page = new DOMParser().parseFromString(event.data, "text/html");
      part.replaceChildren(...page.body.childNodes);
    });
  });
})();
"""
