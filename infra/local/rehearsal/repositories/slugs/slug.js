/** URL slug of a title: lower case words with one hyphen between them. */
export function slug(title) {
  return title
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-");
}
