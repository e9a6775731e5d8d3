// What circuit-tracer's page has from its own build of jetpack: the published one joined to d3 7, with what that lacks.
(() => {
  const exports = {}, module = { exports }, require = () => window.d3;
  /* jetpack */
  const { conventions } = exports;
  Object.assign(window.d3, exports, {
    attachTooltip: () => {},
    conventions: c => Object.assign(conventions(c), { drawAxis: () => exports.drawAxis(c) }),
    nestBy: (values, key) =>
      Array.from(d3.group(values, d => String(key(d))), ([key, some]) => Object.assign(some, { key })),
  });
})();
