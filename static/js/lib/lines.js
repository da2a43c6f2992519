/** Which log lines are shown, by key. Fetched lines may come after live ones with greater keys. */
export class Lines {
  /** @param {number[]} keys of the lines on the page, in ascending order */
  constructor(keys) {
    this.keys = [...keys];
    this.reached = keys.at(-1) ?? 0; // all lines up to this key are there; live ones may be further
  }

  /** Adds lines and returns the new ones as [{line, at}], in the order in which to insert them at the index `at`. */
  add(lines) {
    const placed = [];
    for (const line of lines) {
      let at = this.keys.length;
      while (at > 0 && this.keys[at - 1] > line.key) at -= 1;
      if (at > 0 && this.keys[at - 1] === line.key) continue;
      this.keys.splice(at, 0, line.key);
      placed.push({ line, at });
    }
    return placed;
  }

  /** Adds lines that were fetched: those after `reached`, without a gap. */
  fetched(lines) {
    const placed = this.add(lines);
    this.reached = lines.at(-1)?.key ?? this.reached;
    return placed;
  }

  /** Forgets the first lines, and returns how many, so that `most` are left. */
  trim(most) {
    return this.keys.splice(0, Math.max(0, this.keys.length - most)).length;
  }
}
