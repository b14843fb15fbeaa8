"use strict";
(function () {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const config = { responsive: true, displaylogo: false, displayModeBar: false };
  function draw() {
    const ink = getComputedStyle(document.body).color;
    for (const [id, chart] of Object.entries(charts)) {
      const element = document.getElementById(id);
      if (!element) continue;
      const layout = Object.assign({}, chart.layout, { font: Object.assign({}, chart.layout.font, { color: ink }) });
      Plotly.react(element, chart.data, layout, config);
    }
  }
  draw();
  dark.addEventListener("change", draw);
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (d) { d.open = true; });
  });
})();
