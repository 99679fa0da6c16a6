// For docs/guides/pubsub.md.

import { PubSub } from '@millrace/pubsub';
import { connect } from 'millrace';

export { pubSub } from '@millrace/pubsub';

export const client = connect(PubSub, '127.0.0.1:50052');

export async function work(_payload: Uint8Array): Promise<void> {}
