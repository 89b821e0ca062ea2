// The address of a view: #g=GROUP for one group, and s=SESSION, perhaps with /e12 for an event of it.

const ALL = "#all";

/** The address of a group, null for all of them, and of a session or an event that is opened from there. */
export function auditAddress({ group = null, session = null, event = null }) {
  const parts = [];
  if (group !== null) parts.push(`g=${encodeURIComponent(group)}`);
  if (session !== null) parts.push(`s=${encodeURIComponent(session)}${event === null ? "" : `/e${event}`}`);
  return parts.length ? `#${parts.join("&")}` : ALL;
}

/** What the address asks for. */
export function auditAddressed() {
  const found = { group: null, session: null, event: null };
  for (const part of location.hash.slice(1).split("&")) {
    const [name, value] = [part.slice(0, 2), part.slice(2)];
    if (name === "g=") found.group = decoded(value);
    if (name === "s=") {
      const [id, event = ""] = value.split("/");
      found.session = decoded(id);
      found.event = /^e\d+$/.test(event) ? Number(event.slice(1)) : null;
    }
  }
  return found;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // mistyped
  }
}
