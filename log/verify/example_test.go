package verify_test

import (
	"crypto/sha256"
	"fmt"
	"log"
	"time"

	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/log/verify"
)

// The policy comes from a source that the caller trusts; the file and its bundle may come
// from anywhere.
const (
	policyText = `log log.example/pause+13830bfb+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c
witness w1 w1.example+a88ac538+BGa+fjMsekUzMr2dCn99sFX1xe8aBq2mbZizn7aBDEc6
quorum w1
`
	bundle = `c2sp.org/tlog-proof@v1
extra cGF1c2Vsb2cvdjEKa2luZCB1cGxvYWQKcGF0aCBhdXRob3JzL2lkL0UvRVQvRVRIRVIvVHJ5LVRpbnktMC4zMS50YXIuZ3oKc2hhMjU2IDIzYWEyZjM3OGQ5NjlhYzkzZTkwMjgxZGI3NDA2YzAyNTg0Y2UwMzFkM2Y5NWYyYmViNjU4ZWM3NzRmNWVjNmQKc2l6ZSAzMwp0aW1lIDIwMjYtMTEtMjJUMTA6MDA6MDBaCmJ5IEVUSEVSCnNlZW4gdXBsb2FkCg==
index 1
E6xWJWd9vcNmZ4JPZ61Wbwi8xq2LjvXUFw1//yujuQY=

log.example/pause
2
IYSoN+AGJG6+htabw93e8zvr7HBsl0+xL3qcNBk4jng=

— log.example/pause E4ML+8YqIRaSb8F+30hTESTQDiM24BBc+NRkDTB8NZK2pjGNOj4iyA/D07O3uxdti1GIcdQ/c+og2GDifDPUaiyzNAY=
— w1.example qIrFOAAAAABrAr1cN8T0Sim2cpPAaqQkzEmLgOvUHY6TPaOtzwQL1xBmcNvbGWS1Kt8Rt068yycFU+/Q40ERBNqg2n3wpFU4Pjv7AQ==
`
)

func ExampleVerify() {
	policy, err := checkpoint.ParsePolicy([]byte(policyText))
	if err != nil {
		log.Fatal(err)
	}
	for _, file := range []string{"the bytes of Try-Tiny-0.31.tar.gz", "the bytes of Try-Tiny"} {
		res := verify.Verify(verify.Request{
			Policy: policy,
			Path:   "authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz",
			SHA256: sha256.Sum256([]byte(file)),
			Size:   uint64(len(file)),
			Bundle: []byte(bundle),
			Now:    time.Date(2026, 11, 22, 11, 0, 0, 0, time.UTC),
		})
		fmt.Println(res.Outcome.Code(), res.Outcome, "stops:", res.Outcome.Stops(verify.Prefer))
		fmt.Println(res.Message)
		if len(res.Causes) > 0 {
			fmt.Println("perhaps", res.Causes[0])
		}
	}
	// Output:
	// 0 verified stops: false
	// authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz is logged as entry 1 of log.example/pause, and the same for everyone
	// 10 mismatch stops: true
	// authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz is logged with other bytes than these
	// perhaps the download was cut short: it has 21 bytes of 33
}

// The exit code over many files.
func ExampleWorst() {
	worst := verify.Verified
	for _, o := range []verify.Outcome{verify.Verified, verify.Unverifiable, verify.Mismatch, verify.Pending} {
		worst = verify.Worst(worst, o)
	}
	fmt.Println(worst.Code(), worst)
	// Output: 10 mismatch
}
