export type { CallOptions } from './client/call-options.js';
export type { ChannelState } from './client/channel.js';
export { type Client, type ClientMethodOf, type ClientOptions, connect } from './client/client.js';
export type { ClientCallCompression } from './client/compression.js';
export { type Connection, type ConnectionStats, connection } from './client/connection.js';
export type {
  ClientCallContext,
  ClientInterceptedCall,
  ClientInterceptor,
  ClientNext,
} from './client/interceptor.js';
export type { ConnectionOptions } from './client/options.js';
export type {
  RetryThrottling,
  ServiceConfig,
  ServiceConfigMethod,
} from './client/service-config.js';
export type { UnaryCall, UploadCall } from './client/single-call.js';
export type { DuplexCall, ResponseStream } from './client/stream-call.js';
export type { ClientTlsOptions } from './client/tls.js';
export type { CallCompression, Encoding } from './context/compression.js';
export type { Context, MethodInfo } from './context/context.js';
export { Metadata, type MetadataInit, type MetadataValue } from './context/metadata.js';
export type { Peer, PeerIdentity } from './context/peer.js';
export type { Pressure } from './context/pressure.js';
export { MillraceError, type MillraceErrorCode } from './errors.js';
export {
  BadRequest,
  DebugInfo,
  ErrorInfo,
  Help,
  LocalizedMessage,
  PreconditionFailure,
  QuotaFailure,
  RequestInfo,
  ResourceInfo,
  RetryInfo,
} from './gen/google/rpc/error_details.js';
export type { InterceptedCall, Interceptor, Next } from './interceptors/interceptor.js';
export type { Limits } from './limits.js';
export type { LogLevel } from './logging/logger.js';
export type { DriverName, ServeOptions } from './server/options.js';
export type { Http2Options, KeepaliveOptions } from './server/protocol-limits.js';
export { type Server, serve } from './server/serve.js';
export type { ServerStats, ThreadStats } from './server/stats.js';
export type { CloseResult } from './server/thread.js';
export type { TlsOptions } from './server/tls.js';
export {
  type AttachedServices,
  attach,
  isAttached,
  type ServiceHost,
} from './service/attached.js';
export type {
  InputOf,
  MethodDescriptor,
  MethodKind,
  ReplyOf,
  ServiceDescriptor,
} from './service/descriptor.js';
export type {
  CallbackCall,
  CallbackHandler,
  Handler,
  MessageWriter,
  Requests,
} from './service/handler.js';
export { isService, type Service, type ServiceOptions, service } from './service/service.js';
export {
  badRequest,
  detailOf,
  type FieldViolation,
  findDetail,
  type StatusDetail,
} from './status/details.js';
export { isStatus, Status, statusName } from './status/status.js';
export { StatusError, type StatusErrorOptions } from './status/status-error.js';
export type { TlsSource } from './tls-source.js';
export { type Duplicates, type DuplicatesOptions, duplicates } from './topics/duplicates.js';
export { type DurableMember, type DurableOptions, joinDurableGroup } from './topics/durable.js';
export type { Retention, TopicsLimits, TopicsOptions } from './topics/options.js';
export type { SlowConsumer, Subscription } from './topics/subscription.js';
export {
  type Published,
  type PublishOptions,
  type Start,
  type SubscribeOptions,
  type Topics,
  type TopicsStats,
  topics,
} from './topics/topics.js';
