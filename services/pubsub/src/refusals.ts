// How the service says no: a status, the field, and what to do.

import {
  BadRequest,
  badRequest,
  detailOf,
  ErrorInfo,
  RetryInfo,
  Status,
  StatusError,
} from 'millrace';
import { durationFromMs } from 'millrace/codec';

/** The domain of the service's ErrorInfo details. */
const DOMAIN = 'pubsub.millrace';

/**
 * A request that is refused for one of its fields.
 *
 * @param description says what is wrong, and the remedy
 */
export function refusal(code: Status, field: string, description: string): StatusError {
  return new StatusError(code, `${field}: ${description}`, {
    details: [badRequest([{ field, description }])],
  });
}

/** The field has an illegal value. */
export function illegal(field: string, description: string): StatusError {
  return refusal(Status.INVALID_ARGUMENT, field, description);
}

/** Nothing is wrong with the field, and yet it cannot be done here, or not now. */
export function unmet(field: string, description: string): StatusError {
  return refusal(Status.FAILED_PRECONDITION, field, description);
}

/** A limit. */
export function exhausted(field: string, description: string): StatusError {
  return refusal(Status.RESOURCE_EXHAUSTED, field, description);
}

/** The same error with the field that it is about, where it names none. */
export function aboutField(error: unknown, field: string): unknown {
  if (!StatusError.is(error) || error.detail(BadRequest) !== undefined) return error;
  const { message } = error;
  const prefix = `${field}: `;
  const description = message.startsWith(prefix) ? message.slice(prefix.length) : message;
  return refusal(error.code, field, description);
}

/** What is not possible at the moment: try again after a while. */
export function notNow(
  code: Status,
  description: string,
  retryAfterMs: number,
  cause?: unknown,
): StatusError {
  return new StatusError(code, description, {
    details: [detailOf(RetryInfo, { retryDelay: durationFromMs(retryAfterMs) })],
    cause,
  });
}

/**
 * The end of a PublishStream by one of its requests. Its index is in an ErrorInfo, and in the field of
 * the violation: `requests[7].topic`.
 *
 * @param index counts the requests of the stream from 0
 */
export function atIndex(error: unknown, index: number): StatusError {
  const failure = StatusError.from(error, 'publishing failed');
  const violations = failure.detail(BadRequest)?.fieldViolations ?? [];
  const details = failure.details.filter(({ typeUrl }) => !typeUrl.endsWith(BadRequest.typeName));
  if (violations.length > 0) {
    const inStream = violations.map(({ field, description }) => ({
      field: `requests[${index}].${field}`,
      description,
    }));
    details.push(badRequest(inStream));
  }
  const metadata = { index: String(index) };
  details.push(detailOf(ErrorInfo, { reason: 'PUBLISH_FAILED', domain: DOMAIN, metadata }));
  return new StatusError(failure.code, `request ${index}: ${failure.message}`, {
    details,
    metadata: failure.metadata,
    cause: failure.cause,
  });
}
