// Package conformance checks a running witness against C2SP tlog-witness v1.1.0 over HTTP: any
// witness, as it knows nothing of one but its URL, its keys and the logs that it is configured with.
//
//	logs, err := conformance.GenerateLogs(conformance.Origins)
//	// configure the witness with logs[i].Origin and the verifier keys of logs[i].Keys, and start it
//	target := &conformance.Target{Prefix: url, Logs: logs, Witness: keys, Restart: killAndStart}
//	conformance.Run(ctx, target, func(c conformance.Check, err error) {
//		fmt.Println(c.ID, c.Level, c.Name, err)
//	})
//
// # What the checks hold a witness to
//
// A check's ID says where its demand comes from: WS-1 to WS-21 are the duties of a witness, "6.2" is
// the order in which defects of a request are answered, PR, SN, CP and CS are the encodings of
// C2SP signed-note, tlog-checkpoint and tlog-cosignature, "6.4" is sign-subtree, and HTTP is what
// RFC 9110 and RFC 9112 want, or what a server on an open network needs. A check's Level says
// how binding it is. The specification fixes the statuses but not their order; the order here is:
//
//	1  the body is no request                                       400
//	2  the origin is unknown                                        404
//	3  no trusted key signed, or one's line does not verify         403
//	4  the checkpoint's text is malformed or has extension lines    400
//	5  old is larger than the checkpoint                            400
//	6  size 0 with a root that is not that of the empty tree        422
//	7  old is not the size cosigned last                            409, and that size
//	8  old is 0 and there is a proof                                422
//	9  old is the size, and the root is another                     422
//	10 the proof does not verify                                    422
//
// Not to be seen over HTTP, and so not checked: that evidence of a log's misbehaviour is kept
// (WS-14), that a bastion is used (WS-16), that configured logs are never taken away (WS-20), and
// that a key is retired with its state (WS-21).
//
// # What a run does to the witness
//
// It cosigns made-up trees of the logs in Target.Logs and forks of them, sends a few hundred
// requests from one address, holds some dozens of connections open, and, if Target.Restart is
// there, kills the witness again and again. A witness that limits its clients should be configured
// not to limit this one; an answer 429 is waited out.
package conformance
