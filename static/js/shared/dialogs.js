// Dialogs of a page in which something is typed or confirmed: `data-opens` opens one, `data-closes` closes it.

document.addEventListener("click", ({ target }) => {
  const opener = target.closest("[data-opens]");
  if (opener) open(opener);
  target.closest("[data-closes]")?.closest("dialog").close();
});

/** The browser returns the focus to where it was: the button, or its menu, which is closed. */
function open(opener) {
  const menu = opener.closest("[data-menu]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
  const dialog = document.querySelector(`[data-dialog="${opener.dataset.opens}"]`);
  showError(dialog, "");
  dialog.showModal();
}

/** Shows a message within a dialog or a part of it; "" removes it. */
export function showError(part, message) {
  const node = part.querySelector("[data-dialog-error]");
  if (!node) return;
  node.textContent = message;
  node.hidden = !message;
}
