package frontend

import (
	"fmt"
	"syscall"
	"testing"

	pb "github.com/pauselog/pauselog/proto/pauselog/v1"
)

// cpu is the CPU time in nanoseconds that this process has used: what other processes do does not change it much.
func cpu(b *testing.B) int64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return r.Utime.Nano() + r.Stime.Nano()
}

// A stream of entries to a log in memory, client and server in one process: the CPU of both for one entry.
func BenchmarkSubmitStream(b *testing.B) {
	for _, group := range []int{1, 256} {
		b.Run(fmt.Sprint(group), func(b *testing.B) {
			w := newWorld(b, 0)
			submissions := make([]*pb.Submission, b.N)
			for i := range submissions {
				submissions[i] = upload(i)
			}
			stream, err := w.SubmitStream(as(b, "all"))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			began := cpu(b)
			go func() {
				for from := 0; from < b.N; from += group {
					m := &pb.SubmitStreamRequest{Submissions: submissions[from:min(from+group, b.N)], Wait: pb.Wait_WAIT_SEQUENCED}
					if stream.Send(m) != nil {
						return // Recv says why
					}
				}
				stream.CloseSend()
			}()
			for n := 0; n < b.N; {
				r, err := stream.Recv()
				if err != nil {
					b.Fatal(err)
				}
				for _, x := range r.Results {
					if x.Refusal != nil || x.Repeated {
						b.Fatalf("entry %d: %v", n, x)
					}
					n++
				}
			}
			b.ReportMetric(float64(cpu(b)-began)/float64(b.N), "cpu-ns/op")
		})
	}
}
