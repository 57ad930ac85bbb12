import assert from "node:assert/strict";
import { test } from "node:test";

import { slug } from "../slug.js";

test("words become a slug", () => {
  assert.equal(slug("Hello, world"), "hello-world");
});

test("no hyphen at the ends", () => {
  assert.equal(slug("¿Ready? Steady! Go!"), "ready-steady-go");
});
