// Manifests and groups of a dataset that is to be added, as the form offers and sends them.

// The names under which the import finds a manifest beside the images (trainer/data/sources/labelled.py).
const NAMES = /(^|\/)(manifest|metadata|labels|train_labels|train)\.(csv|jsonl)$/i;
const LEVELS = 6;

export const isManifest = (path) => NAMES.test(path);

/**
 * The choices of groups, [value, text]: the levels of folders above an image, and the columns of the manifest.
 * @param {string} path of an image
 */
export function groupOptions(path, columns) {
  const folders = path.split("/").slice(0, -1).slice(0, LEVELS);
  return [
    ["", "none: each image stands alone"],
    ...columns.map((column) => [`column:${column}`, `column ${column}`]),
    ...folders.map((name, index) => [`level:${index + 1}`, `folders of level ${index + 1}, such as ${name}`]),
  ];
}

/** The fields of the API that a choice of groups stands for. */
export function groupFields(value) {
  const [kind, ...rest] = value.split(":");
  if (kind === "level") return { group_level: Number(rest[0]) };
  return kind === "column" ? { group_column: rest.join(":") } : {};
}

/** The content of a Blob in base64. */
export async function asBase64(blob) {
  const reader = new FileReader();
  const read = new Promise((resolve, reject) => {
    reader.onload = resolve;
    reader.onerror = () => reject(reader.error);
  });
  reader.readAsDataURL(blob);
  await read;
  return reader.result.split(",")[1] ?? "";
}
