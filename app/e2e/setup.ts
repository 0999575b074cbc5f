/** Build the app once, with the tests' bundles, into a folder of its own. */

import { execFileSync } from "node:child_process";
import path from "node:path";
import { BUNDLES } from "../tests/fixtures";
import { STATIC } from "./app";

export default function build(): void {
  const app = path.dirname(import.meta.dirname);
  execFileSync("npm", ["run", "--silent", "build"], {
    cwd: app,
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, LENTIGO_APP_OUT: STATIC, LENTIGO_BUNDLES: BUNDLES },
  });
}
