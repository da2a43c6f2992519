/** What was kept, with the newest first and no more than `most`; what is not such a list counts as nothing. */
export function withNewest(kept, entry, most) {
  return [entry, ...kept].slice(0, most);
}

export function parsed(text) {
  try {
    const kept = JSON.parse(text ?? "[]");
    return Array.isArray(kept) ? kept.filter((entry) => entry?.answers?.length && entry.time) : [];
  } catch {
    return [];
  }
}
