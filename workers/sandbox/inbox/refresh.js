// Puts the list as it is now in place of the one that is shown, when it is another one. What comes is escaped as it is
// in the page itself, and what a parser makes of it runs nothing.
const EVERY_MS = 2000;
const list = document.getElementById("list");
const url = new URL(location.href);
url.searchParams.set("part", "list");

async function refresh() {
  const answer = await fetch(url, { signal: AbortSignal.timeout(10_000) });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("list");
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
