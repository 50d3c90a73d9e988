package conformance

import (
	"errors"
	"strings"
	"testing"
)

func TestAnHonestWitnessPasses(t *testing.T) {
	_, target := startReference(t, faults{})
	seen := make(map[string]bool)
	Run(t.Context(), target, func(c Check, err error) {
		if seen[c.Name] {
			t.Errorf("two checks are named %q", c.Name)
		}
		seen[c.Name] = true
		if err != nil {
			t.Errorf("%s %s %s: %v", c.ID, c.Level, c.Name, err)
		}
	})
	if target.used != Origins {
		t.Errorf("the checks use %d logs, and Origins is %d", target.used, Origins)
	}
}

// Each fault is found by the check that is about it. Faults of existing software are among them.
func TestFaultsAreCaught(t *testing.T) {
	for _, tt := range []struct {
		faults faults
		check  string // how its name begins
	}{
		{faults{unknownOriginIs403: true}, "unknown origin: 404"},
		{faults{unknownOriginIs403: true}, "two defects, the first is answered: unknown origin, forged"},
		{faults{sizeBeforeSignature: true}, "two defects, the first is answered: forged, old behind"},
		{faults{lenientOld: true}, `first line "old 03"`},
		{faults{lenientOld: true}, `first line "old +3"`},
		{faults{lenientOld: true}, `first line "old  3"`},
		{faults{lenientBase64: true}, "proof line is not canonical base64"},
		{faults{lenientBody: true}, "body with a blank line after it"},
		{faults{lenientBody: true}, "body without the last newline"},
		{faults{crlf: true}, "body in CRLF"},
		{faults{manyProofLines: true}, "64 proof lines"},
		{faults{duplicateLines: true}, "the log's signature line twice"},
		{faults{extensionLines: true}, "extension line: 400"},
		{faults{anyLogsKey: true}, "another configured log's key"},
		{faults{anyGoodLine: true}, "a bad Ed25519 line of the log next to a good"},
		{faults{firstContactAnySize: true}, "first contact with old 2"},
		{faults{zeroRootUnchecked: true}, "size 0 with another root"},
		{faults{proofWithOldZero: true}, "old 0 with a proof"},
		{faults{forkConflict: true}, "equal sizes with another root"},
		{faults{conflictWithoutType: true}, "old behind the size cosigned last"},
		{faults{oldBeyondConflict: true}, "old larger than the checkpoint"},
		{faults{noProofCheck: true}, "proof with a wrong hash"},
		{faults{noProofCheck: true}, "a fork after a power of two"},
		{faults{noLock: true}, "of parallel forks of different sizes one is cosigned"},
		{faults{noLock: true}, "of parallel forks at first contact one is cosigned"},
		{faults{forgetsOnKill: true}, "after a kill: the size is known"},
		{faults{forgetsOnKill: true}, "after a kill: what was shown is shown"},
		{faults{answersBeforePersisting: true}, "a kill in the middle of growth"},
		{faults{zeroTime: true}, "200 with signature lines and nothing else"},
		{faults{clockBack: true}, "an unchanged checkpoint is cosigned again, at a time not before"},
		{faults{repeatsAnswer: true}, "an unchanged checkpoint is cosigned at the new time"},
		{faults{onlyEd25519: true}, "an ML-DSA-44 cosignature"},
		{faults{echoesNote: true}, "200 with signature lines and nothing else"},
		{faults{noMonitoring: true}, "GET shows the checkpoint"},
		{faults{showsNeverCosigned: true}, "a log that was never cosigned"},
		{faults{showsAllLines: true}, "strangers' lines are not shown"},
		{faults{showsAllLines: true}, "a forged line of the witness's own key is not shown"},
		{faults{anyHashCase: true}, "GET of a path with upper-case hexadecimal"},
		{faults{smallBody: true}, "16 ML-DSA-44 lines, the log's the last"},
		{faults{drains: true}, "a body of 256 MiB is refused before it is read"},
		{faults{drains: true}, "a body of 256 MiB in chunks is refused before it is read"},
		{faults{stallsForever: true}, "clients that stall do not keep others out, and are not kept for long"},
		{faults{anyMethod: true}, "PUT add-checkpoint: 405"},
		{faults{redirects: true}, `POST to "/add-checkpoint" is not add-checkpoint`},
		{faults{closes: true}, "a connection is kept after 200"},
		{faults{emptyRefused: true}, "the empty tree is cosigned"},
		{faults{subtreeLegacy: true}, "sign-subtree: each subtree"},
		{faults{subtreeAnyCosignature: true}, "sign-subtree: only the log's signature"},
		{faults{subtreeNoProof: true}, "sign-subtree: no proof"},
	} {
		t.Run(tt.check, func(t *testing.T) {
			t.Parallel()
			_, target := startReference(t, tt.faults)
			err := runOne(t.Context(), target, named(t, tt.check))
			if err == nil || errors.Is(err, ErrNotApplicable) || errors.Is(err, ErrTarget) {
				t.Errorf("the fault was not found: %v", err)
			}
		})
	}
}

func named(t *testing.T, prefix string) Check {
	t.Helper()
	var found []Check
	for _, c := range Checks() {
		if strings.HasPrefix(c.Name, prefix) {
			found = append(found, c)
		}
	}
	if len(found) != 1 {
		t.Fatalf("expected one check whose name begins with %q, found %d", prefix, len(found))
	}
	return found[0]
}

func TestWhatCannotBeAskedIsNotApplicable(t *testing.T) {
	_, target := startReference(t, faults{})
	target.Restart = nil
	for _, c := range restartChecks() {
		if err := c.Run(t.Context(), target); !errors.Is(err, ErrNotApplicable) {
			t.Errorf("%s without Restart: expected not applicable, found %v", c.Name, err)
		}
	}
	target.Logs = target.Logs[:target.used]
	if err := named(t, "unknown origin: 404").Run(t.Context(), target); !errors.Is(err, ErrTarget) {
		t.Errorf("without logs left: expected %v, found %v", ErrTarget, err)
	}
}
