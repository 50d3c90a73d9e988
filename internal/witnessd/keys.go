package witnessd

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pauselog/pauselog/internal/atomicfile"
	"github.com/pauselog/pauselog/log/checkpoint"
	"github.com/pauselog/pauselog/witness"
	"github.com/pauselog/pauselog/witness/sshagent"
)

// The files in the keys folder. Of the first two there is exactly one.
const (
	ed25519File = "ed25519.key"
	agentFile   = "ed25519.agent" // the Ed25519 key is in an ssh-agent
	mldsa44File = "mldsa44.key"
	bastionFile = "bastion.key"
)

// keys are what a witness signs with, and what it shows bastions.
type keys struct {
	ed25519 *checkpoint.SignerKey // nil if it is in an agent
	agent   agentKey
	mldsa44 *checkpoint.SignerKey
	bastion ed25519.PrivateKey
}

// An agentKey is where an ssh-agent is, and which of its keys is the witness's.
type agentKey struct {
	socket string
	vkey   *checkpoint.VerifierKey
}

func (k keys) ed25519Verifier() *checkpoint.VerifierKey {
	if k.ed25519 == nil {
		return k.agent.vkey
	}
	return k.ed25519.Verifier()
}

// signers returns what the witness signs with. An agent must be there with its key.
func (k keys) signers() ([]witness.Signer, error) {
	if k.ed25519 != nil {
		return []witness.Signer{k.ed25519, k.mldsa44}, nil
	}
	s, err := sshagent.Open(k.agent.socket, k.agent.vkey)
	if err != nil {
		return nil, err
	}
	return []witness.Signer{s, k.mldsa44}, nil
}

// newKeys makes the keys of a new witness.
func newKeys(name string, agent *Agent) (k keys, err error) {
	if agent == nil {
		k.ed25519, err = checkpoint.GenerateSigner(checkpoint.CosignatureV1, name, nil)
	} else {
		k.agent, err = chooseKey(name, agent)
	}
	if err != nil {
		return keys{}, err
	}
	if k.mldsa44, err = checkpoint.GenerateSigner(checkpoint.MLDSA44, name, nil); err != nil {
		return keys{}, err
	}
	_, k.bastion, err = ed25519.GenerateKey(rand.Reader)
	return k, err
}

func chooseKey(name string, agent *Agent) (agentKey, error) {
	// The witness is started elsewhere than init.
	socket, err := filepath.Abs(agent.Socket)
	if err != nil {
		return agentKey{}, err
	}
	key, err := sshagent.Choose(socket, agent.Key)
	if err != nil {
		return agentKey{}, err
	}
	vkey, err := key.Verifier(name)
	if err != nil {
		return agentKey{}, err
	}
	_, err = sshagent.Open(socket, vkey)
	return agentKey{socket, vkey}, err
}

func (f *Folder) keyDir() string                   { return filepath.Join(f.Dir, "keys") }
func (f *Folder) keyFile(name string) string       { return filepath.Join(f.keyDir(), name) }
func (f *Folder) readKey(n string) (string, error) { return readSecret(f.keyFile(n)) }

// agentDescription is the content of the agent file. It holds nothing secret.
type agentDescription struct {
	Socket string `json:"socket"`
	VKey   string `json:"vkey"`
}

func (f *Folder) writeKeys() error {
	secrets := map[string]string{mldsa44File: f.keys.mldsa44.Secret(), bastionFile: hex.EncodeToString(f.keys.bastion.Seed())}
	if f.keys.ed25519 != nil {
		secrets[ed25519File] = f.keys.ed25519.Secret()
	} else {
		b, err := json.MarshalIndent(agentDescription{f.keys.agent.socket, f.keys.agent.vkey.String()}, "", "  ")
		if err != nil {
			return err
		}
		secrets[agentFile] = string(b)
	}
	for name, secret := range secrets {
		if err := atomicfile.Write(f.keyFile(name), []byte(secret+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// readKeys reads the keys, and refuses those that others can read.
func (f *Folder) readKeys() (k keys, err error) {
	if _, err := os.Lstat(f.keyFile(agentFile)); err == nil {
		if k.agent, err = f.readAgent(); err != nil {
			return keys{}, fmt.Errorf("%s: %w", f.keyFile(agentFile), err)
		}
		if _, err := os.Lstat(f.keyFile(ed25519File)); err == nil {
			return keys{}, fmt.Errorf("%s and %s are both there: remove the one that is not the witness's", f.keyFile(ed25519File), f.keyFile(agentFile))
		}
	} else if k.ed25519, err = f.readSigner(ed25519File, checkpoint.CosignatureV1); err != nil {
		return keys{}, err
	}
	if k.mldsa44, err = f.readSigner(mldsa44File, checkpoint.MLDSA44); err != nil {
		return keys{}, err
	}
	if k.bastion, err = ReadBastionKey(f.keyFile(bastionFile)); err != nil {
		return keys{}, err
	}
	return k, nil
}

func (f *Folder) readSigner(name string, alg checkpoint.Algorithm) (*checkpoint.SignerKey, error) {
	text, err := f.readKey(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the witness's key is gone: %w. Put back your copy of it; a witness without it is another witness", err)
	} else if err != nil {
		return nil, err
	}
	k, err := checkpoint.ParseSignerKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.keyFile(name), err)
	}
	if v := k.Verifier(); v.Algorithm() != alg || v.Name() != f.Name {
		return nil, fmt.Errorf("%s: expected a key of %s of type %v, found one of %s of type %v", f.keyFile(name), f.Name, alg, v.Name(), v.Algorithm())
	}
	return k, nil
}

func (f *Folder) readAgent() (agentKey, error) {
	text, err := f.readKey(agentFile)
	if err != nil {
		return agentKey{}, err
	}
	var d agentDescription
	if err := decodeOne([]byte(text), &d); err != nil {
		return agentKey{}, err
	}
	if !filepath.IsAbs(d.Socket) {
		return agentKey{}, fmt.Errorf("the agent's socket %q is not an absolute path", d.Socket)
	}
	vkey, err := checkpoint.ParseVerifierKey(d.VKey)
	if err != nil {
		return agentKey{}, err
	}
	if vkey.Algorithm() != checkpoint.CosignatureV1 || vkey.Name() != f.Name {
		return agentKey{}, fmt.Errorf("expected a key of %s of type %v, found one of %s of type %v", f.Name, checkpoint.CosignatureV1, vkey.Name(), vkey.Algorithm())
	}
	return agentKey{d.Socket, vkey}, nil
}

// maxSecret bounds the key files in bytes; an agent file has a path in it.
const maxSecret = 16 << 10

// readSecret reads a key file without the newline at its end.
func readSecret(name string) (string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s can be read by others (mode %04o): run 'chmod 600 %s', and think about who has read it", name, info.Mode().Perm(), name)
	}
	if info.Size() > maxSecret {
		return "", fmt.Errorf("%s: expected a key, found %d bytes", name, info.Size())
	}
	b, err := os.ReadFile(name)
	return strings.TrimSuffix(string(b), "\n"), err
}

// ReadBastionKey reads the file of a key for bastions: an Ed25519 seed in lower-case hexadecimal. A
// file that others can read is refused.
func ReadBastionKey(name string) (ed25519.PrivateKey, error) {
	text, err := readSecret(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the key for bastions is gone: %w. Put back your copy of it, "+
			"or make another with 'openssl rand -hex 32', whose name at a bastion is another", err)
	} else if err != nil {
		return nil, err
	}
	seed, err := hex.DecodeString(text)
	if err != nil || len(seed) != ed25519.SeedSize || hex.EncodeToString(seed) != text {
		return nil, fmt.Errorf("%s: expected an Ed25519 seed of %d lower-case hexadecimal digits", name, 2*ed25519.SeedSize)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}
