// Links of cells and nodes: to other dashboards with the choice they are about, and to pages outside that the hub names.

const field = (name) => `\${__data.fields.${name}:percentencode}`;

/** Paths of Grafana are relative to its root, so links hold under any address and any sub-path. */
export function link(uid, fields, extra = "") {
  const variables = Object.entries(fields).map(([name, from]) => `var-${name}=${field(from)}`);
  return `/d/${uid}?${variables.join("&")}${extra}&\${__url_time_range}`;
}

/** A page outside that the hub names in another column: encoded there, and absent where there is none. */
export const page = (title, name) => ({ link: [title, `\${__data.fields.${name}:raw}`, true], needs: { name } });

/** What a field is called in Grafana. */
export const called = ({ name, as = name }) => as;

/** What a link says of a variable where nothing is to be chosen; an empty value would become the first of the list. */
export const ALL = "$__all";

/**
 * Columns with links that are made of fields that are there. A link gets a field as it is shown, and absence is shown somehow, so
 * what may be `absent` comes a second time, hidden, and says All.
 */
export function linked(columns, absent) {
  const names = columns.map(called);
  const again = new Set();
  const whole = columns.map(({ link, ...column }) => {
    if (!link) return column;
    let url = link[1].replace(/var-[a-z_]+=\$\{__data\.fields\.([a-z_]+):percentencode\}&/g, (part, name) =>
      names.includes(name) ? part : "",
    );
    for (const name of absent.filter((other) => url.includes(field(other)))) {
      again.add(name);
      url = url.replaceAll(field(name), field(`${name}_or_all`));
    }
    return { ...column, link: [link[0], url, link[2] ?? false] };
  });
  const hidden = (name) => ({
    name,
    as: `${name}_or_all`,
    title: `${name}_or_all`,
    type: "string",
    hidden: true,
    noValue: ALL,
  });
  return [...whole, ...[...again].map(hidden)];
}
