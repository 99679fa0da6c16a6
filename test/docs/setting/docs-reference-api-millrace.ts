export { detailOf, ErrorInfo, RetryInfo } from 'millrace';
export { durationToMs } from 'millrace/codec';

import type { StatusError } from 'millrace';

export declare const id: string;
export declare const error: StatusError;
export declare function sleep(milliseconds: number): Promise<void>;
