// What of a page is cut, lies outside of the window, or over something else.
() => {
  const found = [];
  const box = (element) => element.getBoundingClientRect();
  const name = (element) => `${element.tagName} "${element.textContent.trim().slice(0, 40)}"`;
  const seen = (element) => element.checkVisibility({ opacityProperty: true }) && box(element).width > 0;
  const over = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) found.push(`the page is ${wide} wide`);
  for (const element of document.querySelectorAll("body *")) {
    if (!seen(element) || element.closest(".box, svg, pre, .skip, select, script")) continue;
    if (box(element).right > innerWidth + 0.5 || box(element).left < -0.5) found.push(`outside: ${name(element)}`);
    const style = getComputedStyle(element);
    if (element.scrollWidth > element.clientWidth + 1 && style.display !== "inline" && style.overflowX !== "visible") {
      found.push(`cut: ${name(element)}`);
    }
  }
  for (const svg of document.querySelectorAll(".chart svg")) {
    const texts = Array.from(svg.querySelectorAll("text")).filter((text) => text.textContent.trim() && seen(text));
    texts.forEach((text, place) => {
      if (text.textContent.includes("…")) found.push(`shortened: ${name(text)}`);
      const inside = box(svg);
      if (box(text).right > inside.right + 1 || box(text).left < inside.left - 1) found.push(`cut: ${name(text)}`);
      if (box(text).bottom > inside.bottom + 2 || box(text).top < inside.top - 2) found.push(`cut: ${name(text)}`);
      for (const other of texts.slice(place + 1)) {
        if (over(box(text), box(other))) found.push(`over each other: ${name(text)} and ${name(other)}`);
      }
    });
  }
  const kinds = "h1, h2, h3, p, dl > div, figure, .box, .tools label, .legend li, nav a";
  const blocks = Array.from(document.querySelectorAll(kinds));
  const visible = blocks.filter((block) => seen(block) && !block.closest("noscript"));
  visible.forEach((block, place) => {
    for (const other of visible.slice(place + 1, place + 30)) {
      if (over(box(block), box(other)) && !block.closest("nav") && !other.closest("nav")) {
        found.push(`over each other: ${name(block)} and ${name(other)}`);
      }
    }
  });
  return found;
}
