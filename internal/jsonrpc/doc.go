// Package jsonrpc carries a gRPC service over plain HTTP, as JSON, from the
// service's own definition: what PAUSE (which speaks HTTP::Tiny), curl and a
// browser use instead of gRPC. [NewHandler] is the server's side; [Conn] is the
// client's, so that generated gRPC clients work over either transport. Both go
// through the same implementation and interceptors, and see the same errors.
//
// # The mapping
//
// A method is the path that gRPC has for it. Its request is the body of a POST:
//
//	curl https://log.example/pauselog.v1.Log/GetEntry \
//	    -H 'Content-Type: application/json' -d '{"index": 0}'
//	{"index":"0","entry":"cGF1c2Vsb2cvdjEK..."}
//
// or, where the .proto says idempotency_level = NO_SIDE_EFFECTS, the query of a
// GET, with the request's fields by name:
//
//	curl 'https://log.example/pauselog.v1.Log/GetEntry?index=0'
//
// Messages are protobuf's JSON: bytes are base64 (in a query, prefer the URL
// alphabet: there a bare + means a space), and 64-bit integers are strings,
// because JavaScript would round them; as input both strings and numbers do.
// Answers have the field names of the .proto, have their zero values spelled
// out, so that entry 0 shows its index, and are one line each. Requests are read
// strictly: an unknown field or parameter is refused, since a misspelt name
// that is ignored answers another question than the one asked.
//
// A stream is application/x-ndjson: lines of one message each, flushed as they
// are made. Requests of a client stream are lines too, and are handed on as they
// come: over HTTP/1.1 as over HTTP/2, a client may wait for an answer before it
// sends its next line, if nothing between the two buffers. (Such a call over
// HTTP/1.1 is the last on its connection.) A server with a ReadTimeout or
// WriteTimeout cuts streams off; use ReadHeaderTimeout.
//
// # Errors
//
// An error is a gRPC status, its google.rpc.ErrorInfo detail included:
//
//	{"error":{"code":"NOT_FOUND","reason":"not-logged","message":"no entry 9","metadata":{"size":"9"}}}
//
// with the HTTP status
//
//	400 INVALID_ARGUMENT, OUT_OF_RANGE   413 a request that is too large
//	401 UNAUTHENTICATED                  415 a body that is not JSON
//	403 PERMISSION_DENIED                429 RESOURCE_EXHAUSTED
//	404 NOT_FOUND, or no such method     499 CANCELLED
//	405 no such verb for the method      501 UNIMPLEMENTED
//	409 ALREADY_EXISTS, ABORTED,         503 UNAVAILABLE
//	    FAILED_PRECONDITION              504 DEADLINE_EXCEEDED
//
// and 500 for the others. FAILED_PRECONDITION is a 409 and not the 400 that
// Google's APIs give it: the request is well formed, and it is the state of
// the log that stands against it. 429 and 503 have a Retry-After if the metadata
// has a retry_after_ms. When a stream fails after its first line the error is
// its last line: a line whose object has the one member "error".
//
// Of the metadata that gRPC carries beside a call, only "authorization" has a
// counterpart, the request's header of that name. What a handler sends as header
// or trailer is dropped.
package jsonrpc
