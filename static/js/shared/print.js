// Printing: canvases keep their size and colors on paper, so they are drawn again, in the light theme, for print.

/** Sizes of charts on paper in CSS pixels; A4 and Letter have room for 718 px between the default margins. */
export const PAPER_WIDTH = 680;
export const PAPER_HEIGHT = 240;

const paper = matchMedia("print");
let printing = paper.matches;

/** Whether the page is being printed, or shown as it would be printed. */
export function isPrinting() {
  return printing;
}

function set(now) {
  if (now === printing) return;
  printing = now;
  dispatchEvent(new CustomEvent("themechange"));
}

addEventListener("beforeprint", () => set(true));
addEventListener("afterprint", () => set(paper.matches));
paper.addEventListener("change", () => set(paper.matches));
