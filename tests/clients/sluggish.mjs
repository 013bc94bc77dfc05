// For tests of a program that is slower than its events: keeping one takes 20 ms.
import files from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { setTimeout } from "node:timers/promises";

const { rename } = files;
files.rename = async (...names) => {
  await setTimeout(20);
  await rename(...names);
};
syncBuiltinESMExports();
