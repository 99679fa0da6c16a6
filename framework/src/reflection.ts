// The protocol of server reflection, `grpc/reflection/v1/reflection.proto`, for servers and clients of
// it. v1alpha differs in nothing but its name.

export * from './gen/grpc/reflection/v1/reflection.js';
export { ServerReflection as ServerReflectionV1Alpha } from './gen/grpc/reflection/v1alpha/reflection.js';
