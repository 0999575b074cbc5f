/** The model, asked for while the page's own script is still on its way. */

import { startModels } from "./state/models";

/** Settles when the model has come, or could not. */
export const modelStarted: Promise<void> = startModels();
