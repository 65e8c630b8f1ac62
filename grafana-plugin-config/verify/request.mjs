// The request that the datasource sends for a target whose variables are already replaced.

/** Escapes as Go's url.Values does. */
const escape = (text) =>
  encodeURIComponent(text)
    .replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
    .replace(/%20/g, "+");

export function urlOf(base, target) {
  // Sorted by key; repeated keys keep their order. Values are trimmed where macros are replaced.
  const params = (target.url_options.params ?? []).map(({ key, value }) => [key, value.trim()]);
  params.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  const query = params.map(([key, value]) => `${escape(key)}=${escape(value)}`).join("&");
  return base + target.url + (query ? `?${query}` : "");
}

/** The answer's text; an error has the one line that Grafana's users see. */
export async function ask(base, target) {
  const answer = await fetch(urlOf(base, target), {
    headers: { Accept: "application/json;q=0.9,text/plain", "Accept-Encoding": "gzip" },
  });
  const text = await answer.text();
  if (answer.status >= 400) throw new Error(`unsuccessful HTTP response code: ${answer.status} ${answer.statusText}`);
  return text;
}
