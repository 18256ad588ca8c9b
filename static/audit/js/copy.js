/**
 * Copies an id or a hash in full.
 *
 * Without this file the full text stands on the page to be selected. Contract with the
 * templates: a button with data-copy holds the text; the server draws it hidden.
 */
if (navigator.clipboard) {
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "copied";
      setTimeout(() => (button.textContent = "copy"), 1500);
    });
  }
}
