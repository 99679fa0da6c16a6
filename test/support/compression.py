# A client by gRPC's own core: compressed requests of both encodings, and replies that the server
# compresses. Prints what came back.
import sys

import grpc

message = b"\x12\x90\x4e" + b"a" * 10000
for name, algorithm in (("gzip", grpc.Compression.Gzip), ("deflate", grpc.Compression.Deflate)):
    with grpc.insecure_channel("127.0.0.1:" + sys.argv[1], compression=algorithm) as channel:
        say = channel.unary_unary("/millrace.echo.v1.Echo/Say")
        chat = channel.stream_stream("/millrace.echo.v1.Echo/Chat")
        replies = [say(message) for _ in range(10)] + list(chat(iter([message] * 10)))
        assert all(reply == message for reply in replies)
        print(name, 10000 * len(replies))
