/**
 * Keeps a page that shows work in progress up to date.
 *
 * Without this file the page reloads itself, or is reloaded by hand. Contract with the
 * templates: [data-live] holds what changes and the seconds between two looks; once it holds
 * none, the work has ended. What has the focus keeps it.
 */
const look = async () => {
  const shown = document.querySelector("[data-live]");
  const seconds = Number(shown.dataset.live);
  if (!seconds) return;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.ok && !answer.redirected && !shown.contains(document.activeElement)) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("[data-live]");
      if (fresh) shown.replaceWith(document.adoptNode(fresh));
    }
  } catch {
    // The server is away; it is asked again.
  }
  setTimeout(look, seconds * 1000);
};

setTimeout(look, 1000);
