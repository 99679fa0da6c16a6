// Loads the native module: whoever imports this needs it now.

import { load } from './load.js';

export const { NativeEngine, NativeTopics, adoptListener, leakedEngines, openListener } = load();
