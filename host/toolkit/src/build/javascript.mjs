// Run by node in the plugin's folder, with: folder of the contract, world, entry module, output.
import { writeFile } from "node:fs/promises";
import { componentize } from "@bytecodealliance/componentize-js";

const [witPath, worldName, sourcePath, output] = process.argv.slice(1);
const { component, imports } = await componentize({
  witPath,
  worldName,
  sourcePath,
  // A plugin depends on its arguments alone: without these features it can import only the log.
  disableFeatures: ["stdio", "random", "clocks", "http", "fetch-event"],
});
const foreign = imports.filter(([from]) => !from.startsWith("dermaga:plugin/"));
if (foreign.length > 0) throw new Error(`it imports ${foreign.join(" ")}`);
await writeFile(output, component);
