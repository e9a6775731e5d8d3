/* The picture as a file of its own: SVG, or PNG at twice the size. */

function pictureText(graph, layout, shown, weights, picture, palette) {
  const copy = picture.cloneNode(true);
  copy.setAttribute("xmlns", SVG);
  copy.querySelectorAll(".target").forEach((target) => target.remove());
  copy.querySelector(".names").removeAttribute("transform");
  copy.querySelectorAll("[tabindex]").forEach((node) => node.removeAttribute("tabindex"));
  const curves = svg("g", { fill: "none" });
  for (const bundle of bundled(graph, shown.edges, weights, largestOf(weights))) {
    const path = bundle.edges
      .map((e) => {
        const [x1, y1, ...rest] = curveOf(layout, graph.edges.source[e], graph.edges.target[e]).map((v) => v.toFixed(1));
        return `M${x1} ${y1}C${rest.join(" ")}`;
      })
      .join("");
    const attributes = {
      d: path,
      stroke: colourOf(palette, bundle.share),
      "stroke-width": bundle.width,
      "stroke-opacity": opacityOf(bundle, shown.edges.length).toFixed(2),
    };
    if (bundle.negative) attributes["stroke-dasharray"] = "4 3";
    curves.append(svg("path", attributes));
  }
  const paper = svg("rect", { width: layout.width, height: layout.height, fill: palette.paper });
  const title = svg("title", {}, `${graph.title} (${graph.kind})`);
  copy.prepend(title, paper, curves);
  return new XMLSerializer().serializeToString(copy);
}

function fileName(graph, ending) {
  const slug = graph.title.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 60) || "prompt";
  return `graph-${slug}-${graph.kind}.${ending}`;
}

function saveBlob(blob, name) {
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function saveSvg(graph, text) {
  saveBlob(new Blob([text], { type: "image/svg+xml" }), fileName(graph, "svg"));
}

function savePng(graph, text, layout) {
  const image = new Image();
  image.onload = () => {
    const canvas = make("canvas", { width: 2 * layout.width, height: 2 * layout.height });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => saveBlob(blob, fileName(graph, "png")), "image/png");
  };
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
}
