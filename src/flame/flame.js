"use strict";
(function () {
  const MARGIN = 10, CHARACTER = 7.25, TEXT_MARGIN = 6, MIN_CHARACTERS = 3;
  const svg = document.documentElement;
  const inner = svg.viewBox.baseVal.width - 2 * MARGIN;
  const details = document.getElementById("details");
  const matched = document.getElementById("matched");
  const frames = Array.from(document.getElementsByClassName("f"), function (g) {
    const about = g.querySelector("title").textContent;
    return {
      g: g, about: about, name: about.slice(0, about.lastIndexOf(" (")),
      rect: g.querySelector("rect"), text: g.querySelector("text"),
      x: Number(g.dataset.x), w: Number(g.dataset.w), d: Number(g.dataset.d),
    };
  });
  if (frames.length === 0) { return; }
  const all = frames[0];
  svg.classList.add("live");

  function place(f, x, w) {
    f.rect.setAttribute("x", x.toFixed(1));
    f.rect.setAttribute("width", w.toFixed(1));
    f.text.setAttribute("x", (x + TEXT_MARGIN / 2).toFixed(1));
    const room = Math.floor((w - TEXT_MARGIN) / CHARACTER);
    const letters = Array.from(f.name);
    f.text.textContent = room < MIN_CHARACTERS ? ""
      : letters.length <= room ? f.name : letters.slice(0, room - 1).join("") + "\u2026";
  }

  function zoom(to) {
    for (const f of frames) {
      const inside = f.d >= to.d && f.x >= to.x && f.x + f.w <= to.x + to.w;
      const under = f.d < to.d && f.x <= to.x && f.x + f.w >= to.x + to.w;
      f.g.style.display = inside || under ? "" : "none";
      f.g.classList.toggle("under", under);
      if (inside) {
        place(f, MARGIN + (f.x - to.x) / to.w * inner, f.w / to.w * inner);
      } else if (under) {
        place(f, MARGIN, inner);
      }
    }
  }

  function search() {
    const wanted = window.prompt("Frames whose name matches (a regular expression; empty for none):", "");
    if (wanted === null) { return; }
    let pattern;
    try {
      pattern = wanted === "" ? null : new RegExp(wanted);
    } catch (error) {
      matched.textContent = String(error.message);
      return;
    }
    let sum = 0, end = -1;
    // Callers come before what they call: a frame within a match is counted with it.
    for (const f of frames) {
      const hit = pattern !== null && f.d > 0 && pattern.test(f.name);
      f.g.classList.toggle("hit", hit);
      if (hit && f.x >= end) {
        sum += f.w;
        end = f.x + f.w;
      }
    }
    matched.textContent = pattern === null ? "" : "matched: " + (100 * sum / all.w).toFixed(2) + "%";
  }

  for (const f of frames) {
    f.g.addEventListener("click", function () { zoom(f); });
    f.g.addEventListener("mouseenter", function () { details.textContent = f.about; });
    f.g.addEventListener("mouseleave", function () { details.textContent = ""; });
  }
  document.getElementById("reset").addEventListener("click", function () { zoom(all); });
  document.getElementById("search").addEventListener("click", search);
  window.addEventListener("keydown", function (event) {
    if (event.key === "Escape") {
      zoom(all);
    } else if (event.key === "/" || (event.key === "f" && event.ctrlKey)) {
      event.preventDefault();
      search();
    }
  });
})();
