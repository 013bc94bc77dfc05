// Puts the list of the page as it is now in place of the one that is shown, when it is another one.
// What is in the page that comes is escaped as it is in this one, and what a parser makes of it runs nothing.
const EVERY_MS = 2000;
const list = document.getElementById("list");

async function refresh() {
  const answer = await fetch(location.href, { signal: AbortSignal.timeout(10_000) });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("list");
  if (fresh && fresh.innerHTML !== list.innerHTML) list.replaceChildren(...fresh.childNodes);
}

async function keepRefreshing() {
  try {
    if (!document.hidden) await refresh();
  } catch {
    // The sandbox is away; what is shown stays, and the next try may find it.
  }
  setTimeout(keepRefreshing, EVERY_MS);
}

setTimeout(keepRefreshing, EVERY_MS);
