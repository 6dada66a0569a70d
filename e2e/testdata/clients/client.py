"""Asks Scopeward with grpcio (C-core): client.py ADDRESS CA|- REQUEST

Prints one JSON object: how many calls of each kind ended with which status, and the
distinct replies, in base64.
"""
import base64, collections, concurrent.futures, json, sys, threading

import grpc

address, ca, request = sys.argv[1:]
with open(request, "rb") as f:
    message = f.read()
if ca == "-":
    channel = grpc.insecure_channel(address)
else:
    with open(ca, "rb") as f:
        channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(f.read()),
                                      [("grpc.ssl_target_name_override", "scopeward.example.com")])
check = channel.unary_unary("/envoy.service.auth.v3.Authorization/Check", lambda m: m, lambda m: m)
other = channel.unary_unary("/envoy.service.auth.v3.Authorization/Nothing", lambda m: m, lambda m: m)
counts, replies, lock = collections.Counter(), set(), threading.Lock()


def ask(kind, call, **options):
    try:
        reply = call(message, timeout=10, **options)
        with lock:
            replies.add(reply)
            counts[kind + " OK"] += 1
    except grpc.RpcError as e:
        with lock:
            counts[kind + " " + e.code().name] += 1


for _ in range(20):
    ask("unary", check)
with concurrent.futures.ThreadPoolExecutor(32) as pool:
    for _ in range(500):
        pool.submit(ask, "concurrent", check)
ask("compressed", check, compression=grpc.Compression.Gzip)
ask("metadata", check, metadata=[("x-some-bin", b"\x00\xff"), ("x-text", "v")])
ask("unimplemented", other)
for _ in range(50):
    check.future(message, timeout=10).cancel()
try:
    check(message, timeout=-1)
except grpc.RpcError as e:
    counts["deadline " + e.code().name] += 1
for _ in range(20):
    ask("after", check)
json.dump({"counts": counts, "replies": [base64.b64encode(r).decode() for r in replies]}, sys.stdout)
