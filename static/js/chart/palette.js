export const ROLES = ["bg", "surface", "ink", "muted", "line", "line-strong", "train", "val", "accent"];

/** The theme's colours as a canvas takes them: light-dark() is resolved by the browser only where it is used. */
export function palette(roles = ROLES) {
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const colours = Object.fromEntries(
    roles.map((role) => {
      probe.style.color = `var(--${role})`;
      return [role, getComputedStyle(probe).color];
    }),
  );
  probe.remove();
  return colours;
}

export function translucent(colour, share) {
  return colour.replace(/^rgb\((.*)\)$/, `rgba($1, ${share})`);
}
