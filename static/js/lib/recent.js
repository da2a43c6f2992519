/** The stored entries with `entry` added in front, at most `most` of them. */
export function withNewest(kept, entry, most) {
  return [entry, ...kept].slice(0, most);
}

/** The entries stored as JSON; an empty list if `text` is null or invalid. */
export function parsed(text) {
  try {
    const kept = JSON.parse(text ?? "[]");
    return Array.isArray(kept) ? kept.filter((entry) => entry?.answers?.length && entry.time) : [];
  } catch {
    return [];
  }
}
