import { isPrinting } from "../shared/print.js";

export const ROLES = ["bg", "surface", "ink", "muted", "line", "line-strong", "train", "val", "accent"];

/**
 * The theme's colors by role (the light theme's for print), as CSS colors that a canvas accepts. A probe element is needed because the browser
 * resolves light-dark() only where it is used.
 */
export function palette(roles = ROLES) {
  const probe = document.createElement("span");
  probe.hidden = true;
  if (isPrinting()) probe.style.colorScheme = "light";
  document.body.append(probe);
  const colors = Object.fromEntries(
    roles.map((role) => {
      probe.style.color = `var(--${role})`;
      return [role, getComputedStyle(probe).color];
    }),
  );
  probe.remove();
  return colors;
}

export function translucent(color, share) {
  return color.replace(/^rgb\((.*)\)$/, `rgba($1, ${share})`);
}
