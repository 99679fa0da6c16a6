// Loads the native module: whoever imports this needs it now.

import { load } from './load.js';

export const {
  NativeDuplicates,
  NativeDurables,
  NativeEngine,
  NativeTopics,
  adoptListener,
  leakedEngines,
  openListener,
  publishQueued,
  publishRetained,
} = load();
