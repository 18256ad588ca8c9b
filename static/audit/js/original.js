/**
 * Checks a file that somebody still has against the hash of contents that are gone.
 *
 * The file is hashed in the browser and sent nowhere. Without this file the page tells the
 * command that does the same. Contract with partials/body.html: data-original holds the hash,
 * data-drop is drawn hidden and holds the input data-file and the output data-verdict.
 */
for (const box of document.querySelectorAll("[data-original]")) {
  const drop = box.querySelector("[data-drop]");
  const input = box.querySelector("[data-file]");
  const verdict = box.querySelector("[data-verdict]");
  if (!drop || !crypto.subtle) continue;
  drop.hidden = false;
  input.addEventListener("change", () => check(input.files[0]));
  box.addEventListener("dragover", (event) => event.preventDefault());
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    check(event.dataTransfer.files[0]);
  });

  async function check(file) {
    if (!file) return;
    verdict.textContent = "hashing";
    const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
    const found = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0"));
    const hash = found.join("");
    const same = hash === box.dataset.original;
    verdict.textContent = same
      ? "This is the original: its hash is the recorded one."
      : `This is another file: its hash is ${hash}.`;
    verdict.dataset.same = same;
  }
}
