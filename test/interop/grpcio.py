# The four compressed cases by gRPC for Python, which compresses in both roles: a client, and as much of
# grpc.testing.TestService as a client needs for them.
#
#   grpcio.py client --server_port 10000 --test_case client_compressed_unary [--ca_file ca.pem]
#   grpcio.py server --port 10000 [--tls_cert_file cert.pem --tls_key_file key.pem]
#
# It shows neither role whether a message came compressed: the server cannot answer the probe, and the
# client cannot look at the responses' flags. The messages are written and read by hand, by their field
# numbers in protos/grpc/testing/test.proto, so that no generated code is needed.
#
# Source: https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md
import argparse
import concurrent.futures
import json
import os
import signal

import grpc

SERVICE = "grpc.testing.TestService"
TIMEOUT_S = 20
GZIP = grpc.Compression.Gzip


def varint(value):
    data = bytearray()
    while value >= 128:
        data.append(value % 128 + 128)
        value //= 128
    data.append(value)
    return bytes(data)


def field(number, value):
    """A number, or bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(message):
    """The fields of a message: number and value."""
    position = 0

    def number():
        nonlocal position
        value, shift = 0, 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while position < len(message):
        tag = number()
        value = number()
        if tag & 7 == 2:
            position += value
            yield tag >> 3, message[position - value : position]
        else:
            yield tag >> 3, value


def boolean(value):
    """A BoolValue."""
    return field(1, 1) if value else b""


def payload(body):
    """A Payload."""
    return field(2, body)


def body_bytes(message, number):
    """How long the body of the payload in this field is."""
    return len(dict(fields(dict(fields(message)).get(number, b""))).get(2, b""))


# --- the client ---


def simple_request(request_bytes, number, value):
    return field(2, 314_159) + field(3, payload(bytes(request_bytes))) + field(number, boolean(value))


def refused(call):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
    else:
        raise AssertionError("the server did not notice how the request came")


def client_compressed_unary(channel):
    unary = channel.unary_unary(f"/{SERVICE}/UnaryCall")
    expects, does_not = (simple_request(271_828, 8, value) for value in (True, False))
    refused(lambda: unary(expects, timeout=TIMEOUT_S))
    refused(lambda: unary(does_not, timeout=TIMEOUT_S, compression=GZIP))
    for request, compression in ((expects, GZIP), (does_not, grpc.Compression.NoCompression)):
        reply = unary(request, timeout=TIMEOUT_S, compression=compression)
        assert body_bytes(reply, 1) == 314_159


def server_compressed_unary(channel):
    unary = channel.unary_unary(f"/{SERVICE}/UnaryCall")
    for value in (True, False):
        assert body_bytes(unary(simple_request(271_828, 6, value), timeout=TIMEOUT_S), 1) == 314_159


def client_compressed_streaming(channel):
    upload = channel.stream_unary(f"/{SERVICE}/StreamingInputCall")
    first = field(1, payload(bytes(27_182))) + field(2, boolean(True))
    refused(lambda: upload(iter([first]), timeout=TIMEOUT_S))
    # There is no switch for one message: what would grow is sent as it is.
    second = field(1, payload(os.urandom(45_904))) + field(2, boolean(False))
    reply = upload(iter([first, second]), timeout=TIMEOUT_S, compression=GZIP)
    assert dict(fields(reply))[1] == 73_086


def server_compressed_streaming(channel):
    output = channel.unary_stream(f"/{SERVICE}/StreamingOutputCall")
    request = b"".join(
        field(2, field(1, size) + field(3, boolean(value)))
        for size, value in ((31_415, True), (92_653, False))
    )
    replies = output(request, timeout=TIMEOUT_S)
    assert [body_bytes(reply, 1) for reply in replies] == [31_415, 92_653]


def run_client(options):
    target = f"127.0.0.1:{options.server_port}"
    if options.ca_file:
        with open(options.ca_file, "rb") as file:
            credentials = grpc.ssl_channel_credentials(file.read())
        channel = grpc.secure_channel(target, credentials)
    else:
        channel = grpc.insecure_channel(target)
    with channel:
        globals()[options.test_case](channel)


# --- the server ---


def compress_if(value, context):
    """As a BoolValue asks; one that is not there asks for nothing."""
    if value is None or dict(fields(value)).get(1, 0) == 0:
        context.disable_next_message_compression()


def unary_call(request, context):
    asked = dict(fields(request))
    context.set_compression(GZIP)
    compress_if(asked.get(6), context)
    return field(1, payload(bytes(asked.get(2, 0))))


def streaming_input_call(requests, _context):
    return field(1, sum(body_bytes(request, 1) for request in requests))


def streaming_output_call(request, context):
    context.set_compression(GZIP)
    for parameters in (value for number, value in fields(request) if number == 2):
        asked = dict(fields(parameters))
        compress_if(asked.get(3), context)
        yield field(1, payload(bytes(asked.get(1, 0))))


def run_server(options):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=4))
    handlers = {
        "UnaryCall": grpc.unary_unary_rpc_method_handler(unary_call),
        "StreamingInputCall": grpc.stream_unary_rpc_method_handler(streaming_input_call),
        "StreamingOutputCall": grpc.unary_stream_rpc_method_handler(streaming_output_call),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    address = f"127.0.0.1:{options.port}"
    if options.tls_cert_file:
        with open(options.tls_key_file, "rb") as key, open(options.tls_cert_file, "rb") as cert:
            credentials = grpc.ssl_server_credentials([(key.read(), cert.read())])
        port = server.add_secure_port(address, credentials)
    else:
        port = server.add_insecure_port(address)
    server.start()
    print(json.dumps({"msg": "listening", "port": port}), flush=True)
    signal.sigwait([signal.SIGTERM, signal.SIGINT])
    server.stop(0)


arguments = argparse.ArgumentParser()
roles = arguments.add_subparsers(required=True)
client = roles.add_parser("client")
client.add_argument("--server_port", required=True)
client.add_argument("--test_case", required=True)
client.add_argument("--ca_file")
client.set_defaults(run=run_client)
server = roles.add_parser("server")
server.add_argument("--port", default="10000")
server.add_argument("--tls_cert_file")
server.add_argument("--tls_key_file")
server.set_defaults(run=run_server)
options = arguments.parse_args()
options.run(options)
