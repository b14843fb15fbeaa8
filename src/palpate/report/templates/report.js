"use strict";
(async function () {
  const holder = document.getElementById("charts");
  const charts = JSON.parse(holder.textContent);
  const packed = Uint8Array.from(atob(document.getElementById("library").textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const library = document.createElement("script");
  library.textContent = await new Response(stream).text();
  document.head.append(library);
  if (!window.Plotly) return;

  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const touch = window.matchMedia("(pointer: coarse)").matches;
  const config = { responsive: true, displayModeBar: false };
  const PAPER = 680; // CSS pixels that fit between the margins of A4 and Letter
  function one(id, chart, ink, width) {
    const element = document.getElementById(id);
    if (!element) return;
    const own = { font: { ...chart.layout.font, color: ink }, dragmode: touch ? false : "zoom", ...(width ? { width, autosize: false } : {}) };
    if (!element.classList.contains("js-plotly-plot")) element.replaceChildren();
    const data = chart.data.map((t) => (t.type === "heatmap" ? { ...t, textfont: { ...t.textfont, color: ink } } : t));
    Plotly.react(element, data, { ...chart.layout, ...own }, config);
  }
  function draw(ink, width) {
    for (const [id, chart] of Object.entries(charts)) one(id, chart, ink, width);
  }
  const ink = () => getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
  dark.addEventListener("change", () => draw(ink()));

  const closed = [];
  window.addEventListener("beforeprint", () => {
    draw("#1b1f24", PAPER);
    document.querySelectorAll("details.print:not([open])").forEach((d) => { d.open = true; closed.push(d); });
  });
  window.addEventListener("afterprint", () => {
    closed.splice(0).forEach((d) => { d.open = false; });
    draw(ink());
  });
  for (const [id, chart] of Object.entries(charts)) { // one at a time: the page can be read and scrolled meanwhile
    if (!document.getElementById(id)?.classList.contains("js-plotly-plot")) one(id, chart, ink());
    await new Promise((done) => setTimeout(done));
  }
  document.documentElement.dataset.charts = "drawn";
})();
