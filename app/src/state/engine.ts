/** The one worker of the page. */

import { Engine } from "../worker/client";

export const engine = new Engine();
