package interop

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/torchwood"
	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// A witness is another project's, which knows one log and keeps its state and address over restarts.
type witness struct {
	vkey, address string
	serve         func() *process
}

// newLitewitness is Torchwood's witness. Its key is in an ssh-agent.
func newLitewitness(t *testing.T, log *pauselogd) *witness {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const name = "witness.example/lite"
	vkey, err := note.NewEd25519VerifierKey(name, public)
	if err != nil {
		t.Fatal(err)
	}
	if vkey, err = fnote.VKeyToCosignatureV1(vkey); err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	socket := serveAgent(t, private)
	db := filepath.Join(t.TempDir(), "litewitness.db")
	w := &witness{vkey: vkey, address: freeAddress(t)}
	w.serve = func() *process {
		p := start(t, environment(t), "litewitness", "-name", name, "-db", db, "-listen", w.address,
			"-ssh-agent", socket, "-key", ssh.FingerprintSHA256(key))
		p.listens(t, w.address)
		return p
	}
	p := w.serve() // makes the tables
	defer p.kill()

	// What witnessctl add-log and add-key do.
	conn, err := sqlite.OpenConn(db)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	empty := sha256.Sum256(nil)
	insert := func(query string, args ...any) {
		if err := sqlitex.Execute(conn, query, &sqlitex.ExecOptions{Args: args}); err != nil {
			t.Fatal(err)
		}
	}
	insert("INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)", log.origin, base64.StdEncoding.EncodeToString(empty[:]))
	insert("INSERT INTO key (origin, key) VALUES (?, ?)", log.origin, log.vkeys[0])
	return w
}

// serveAgent serves a key as an ssh-agent until the test ends, and returns the agent's socket.
func serveAgent(t *testing.T, key ed25519.PrivateKey) (socket string) {
	t.Helper()
	keys := agent.NewKeyring()
	if err := keys.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "agent") // a socket's name is limited to some 100 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "agent"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				agent.ServeAgent(keys, c) // ends with the connection
			}()
		}
	}()
	return l.Addr().String()
}

// newOmniwitness is the witness of transparency-dev.
func newOmniwitness(t *testing.T, log *pauselogd) *witness {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, "witness.example/omni")
	if err != nil {
		t.Fatal(err)
	}
	if vkey, err = fnote.VKeyToCosignatureV1(vkey); err != nil {
		t.Fatal(err)
	}
	key := writeFile(t, "key", skey)
	logs := writeFile(t, "logs.yaml", fmt.Sprintf("Logs:\n  - Origin: %s\n    PublicKey: %s\n", log.origin, log.vkeys[0]))
	db := filepath.Join(t.TempDir(), "omniwitness.db")
	w := &witness{vkey: vkey, address: freeAddress(t)}
	w.serve = func() *process {
		p := start(t, environment(t), "omniwitness", "--private_key_path", key, "--additional_logs", logs, "--db_file", db,
			"--listen", w.address, "--metrics_listen", "", "--logtostderr")
		p.listens(t, w.address)
		return p
	}
	return w
}

// Each of these witnesses cosigns what our log appends, through restarts of both.
func TestOtherWitnesses(t *testing.T) {
	for name, newWitness := range map[string]func(*testing.T, *pauselogd) *witness{
		"litewitness": newLitewitness,
		"omniwitness": newOmniwitness,
	} {
		t.Run(name, func(t *testing.T) {
			log := newPauselogd(t, "log.example/pause")
			w := newWitness(t, log)
			running := w.serve()
			policy := fmt.Sprintf("witness w %s http://%s\nquorum w\n", w.vkey, w.address)
			log.serve(policy)
			for n := range 3 {
				checkWithTorchwood(t, log, n, log.publish(n))
			}
			// The log starts again: the witness has to be asked what it saw before anything is written.
			log.process.kill()
			log.serve(policy)
			log.publish(3)
			running.kill()
			w.serve()
			checkWithTorchwood(t, log, 4, log.publish(4))
		})
	}
}

// A log whose policy needs both publishes what both have cosigned.
func TestOtherWitnessesTogether(t *testing.T) {
	log := newPauselogd(t, "log.example/pause")
	lite, omni := newLitewitness(t, log), newOmniwitness(t, log)
	lite.serve()
	omni.serve()
	log.serve(fmt.Sprintf("witness lite %s http://%s\nwitness omni %s http://%s\ngroup both all lite omni\nquorum both\n",
		lite.vkey, lite.address, omni.vkey, omni.address))
	for n := range 3 {
		checkWithTorchwood(t, log, n, log.publish(n))
	}
}

// checkWithTorchwood has Torchwood decide by the same policy as pauselog that a proof bundle of our log proves
// the entry that it carries.
func checkWithTorchwood(t *testing.T, log *pauselogd, n int, proof string) {
	t.Helper()
	policy, err := torchwood.ParsePolicy([]byte(log.policy))
	if err != nil {
		t.Fatal(err)
	}
	entry, err := torchwood.ProofExtraData([]byte(proof))
	if err != nil {
		t.Fatal(err)
	}
	if err := torchwood.VerifyProof(policy, tlog.RecordHash(entry), []byte(proof)); err != nil {
		t.Errorf("Torchwood does not verify the proof of distribution %d: %v\n%s", n, err, proof)
	}
	if err := torchwood.VerifyProof(policy, tlog.RecordHash([]byte("another entry")), []byte(proof)); err == nil {
		t.Errorf("Torchwood verifies the proof of distribution %d for anything\n%s", n, proof)
	}
}
