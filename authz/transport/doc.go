// Package transport serves Envoy's authorization requests over HTTP/2: what gRPC is on
// the wire, for the one method envoy.service.auth.v3.Authorization/Check.
//
// A general gRPC server wakes three goroutines for each request, which is most of what a
// check costs. Here one goroutine reads a connection, and answers in place each Check
// that needs no waiting. It writes the answers when there is nothing left to read: under
// load, many with one system call. A Check that may have to wait (for a provider, for
// Redis, or for a signature to be verified) gets a goroutine of its own, and delays
// nobody. [authz.Server.Begin] draws the line.
//
// All else goes to another server as an http.Handler, on the same connection: other
// methods and services, compressed messages, binary metadata, and what is no gRPC. In
// Scopeward that is a grpc.Server.
//
// Framing and header compression are those of golang.org/x/net/http2. This package adds
// what lies between (RFC 9113): connections and streams, flow control both ways, and the
// end of a connection.
//
//	server.go   listeners, connections, drain
//	conn.go     the life of a connection; its reading goroutine
//	frames.go   what each frame does
//	head.go     header blocks that are read
//	check.go    a Check from its first byte to its answer
//	handler.go  streams of the other server
//	output.go   what is written, and when; flow control
//	watch.go    dead peers, slow peers, drain
//
// # What is bounded
//
// A connection has at most MaxStreams streams, and as much work: a stream that is reset
// counts until its work has ended. A message has at most MaxMessage bytes, a header block
// MaxHeader; all messages that have begun to come, maxGathered per connection. What
// waits to be written is bounded as well: if a peer does not read, nothing more is read
// from it. Frames that ask for nothing (pings, settings, empty data, unknown frames) are
// taken from an allowance; a connection that has used it up is closed.
//
// Time is bounded: for the TLS handshake and the preface, for a header block, for a
// message, for an answer that the peer does not take, and for a peer that says nothing.
// A connection whose input never ends yields the processor after each buffer of it.
package transport
