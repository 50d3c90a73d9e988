package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pauselog/pauselog/internal/atomicfile"
	"github.com/pauselog/pauselog/internal/datafolder"
	"github.com/pauselog/pauselog/log/checkpoint"
)

// ErrNoPolicy says that nobody has said who must cosign what a log publishes.
var ErrNoPolicy = errors.New("no policy")

// policyFile is the policy that the log was last served with. A log that had witnesses does not come
// back without them because somebody forgot a flag.
func policyFile(f *datafolder.Folder) string { return filepath.Join(f.Dir, "policy") }

// RecordedPolicy is the policy that the log was last served with, as a file's bytes; nil if there is none.
func RecordedPolicy(f *datafolder.Folder) ([]byte, error) {
	b, err := os.ReadFile(policyFile(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// ChoosePolicy returns the policy to serve a log with: of the file that is named, or the one that the log was
// served with last. Without either, and if noWitnesses is set, it is nil. Run records it.
func ChoosePolicy(f *datafolder.Folder, file string, noWitnesses bool) (*checkpoint.Policy, error) {
	if noWitnesses {
		return nil, nil
	}
	name := file
	b, err := RecordedPolicy(f)
	if file != "" {
		b, err = os.ReadFile(file)
	} else {
		name = policyFile(f)
	}
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, ErrNoPolicy
	}
	p, err := checkpoint.ParsePolicy(b)
	if err == nil {
		err = checkPolicy(f, p)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// wasWitnessed says whether the log was served with witnesses before. The log's lock must be held.
func wasWitnessed(f *datafolder.Folder) (bool, error) {
	b, err := RecordedPolicy(f)
	if err != nil || b == nil {
		return false, err
	}
	p, err := checkpoint.ParsePolicy(b)
	if err != nil {
		return false, fmt.Errorf("%s: %w", policyFile(f), err)
	}
	return witnessed(p), nil
}

// recordPolicy keeps a policy for later starts. The log's lock must be held.
func recordPolicy(f *datafolder.Folder, p *checkpoint.Policy) error {
	b, err := RecordedPolicy(f)
	if err != nil || string(b) == p.String() {
		return err
	}
	return atomicfile.Write(policyFile(f), []byte(p.String()), 0o644)
}

// checkPolicy makes sure that what this log publishes can satisfy the policy that its readers use.
func checkPolicy(f *datafolder.Folder, p *checkpoint.Policy) error {
	known := false
	for _, k := range f.Signers {
		for _, l := range p.Logs() {
			known = known || l.Key.String() == k.Verifier().String()
		}
	}
	if !known {
		return fmt.Errorf("the policy does not list a key of this log, %s: nobody who uses it could verify what this log publishes", f.Origin)
	}
	if !p.Satisfied(func(name string) bool {
		for _, w := range p.Witnesses() {
			if w.Name == name {
				return w.URL != ""
			}
		}
		return false
	}) {
		return errors.New("the witnesses that have a URL in the policy cannot make its quorum: a witness is asked at '<URL>/add-checkpoint'")
	}
	return nil
}

// witnessed says whether a policy asks for cosignatures.
func witnessed(p *checkpoint.Policy) bool { return p != nil && !p.QuorumNone() }
