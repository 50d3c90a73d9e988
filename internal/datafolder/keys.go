package datafolder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pauselog/pauselog/internal/atomicfile"
	"github.com/pauselog/pauselog/log/checkpoint"
)

// A log signs with each key in its keys folder. To change a key, a new one is added, both
// sign for as long as readers need to learn of it (C2SP signed-note: same name, other key id),
// and the old one is retired: its file is moved to the folder retired/ in the keys folder. What
// a log signs with is decided when it starts.

// MaxKeys is how many keys of one type can sign at a time. A note has room for 16 lines
// (checkpoint.MaxSignatures), and the witnesses need some of them.
const MaxKeys = 4

const (
	keyExtension = ".key"
	retiredTime  = "20060102T150405Z" // how the name of a retired key's file begins
)

var (
	// ErrNoSuchKey says that no key that signs has a key id.
	ErrNoSuchKey = errors.New("no such key")
	// ErrKeyNeeded says that a key cannot be retired, or not yet.
	ErrKeyNeeded = errors.New("the key is needed")
)

// A Key is one of a log's keys.
type Key struct {
	Verifier *checkpoint.VerifierKey
	File     string
	// Added is the file's time: when the key was made, unless the file was copied since.
	Added time.Time
	// Retired says that the key signs no more, from the next start of the log on at the latest.
	Retired bool
	// RetiredAt is when; zero if it signs, or if somebody moved the file by hand.
	RetiredAt time.Time

	signer *checkpoint.SignerKey
}

// ID is the key id as verifier keys have it.
func (k Key) ID() string { return fmt.Sprintf("%08x", k.Verifier.KeyID()) }

func (f *Folder) keyDir() string     { return filepath.Join(f.Dir, "keys") }
func (f *Folder) retiredDir() string { return filepath.Join(f.Dir, "keys", "retired") }

// Keys reads the log's keys: those that sign, Ed25519 first, and then the retired ones, the
// oldest retirement first.
func (f *Folder) Keys() ([]Key, error) {
	keys, err := readKeys(f.keyDir(), f.Origin)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("there are no keys in %s", f.keyDir())
	}
	retired, err := readKeys(f.retiredDir(), f.Origin)
	if err != nil {
		return nil, err
	}
	for i := range retired {
		k := &retired[i]
		k.Retired = true
		if stamp, _, ok := strings.Cut(filepath.Base(k.File), "-"); ok {
			k.RetiredAt, _ = time.Parse(retiredTime, stamp)
		}
	}
	slices.SortStableFunc(retired, func(a, b Key) int { return a.RetiredAt.Compare(b.RetiredAt) })
	keys = append(keys, retired...)
	// Two lines of one key are a note that nobody reads; and a key that is retired and signs is
	// one of which nobody knows what was meant.
	for i, k := range keys {
		if j := slices.IndexFunc(keys[:i], func(o Key) bool { return o.ID() == k.ID() }); j >= 0 {
			return nil, fmt.Errorf("%s and %s hold keys with the same key id, %s: remove one of them", keys[j].File, k.File, k.ID())
		}
	}
	return keys, nil
}

// takeKeys puts the keys where the log takes them from.
func (f *Folder) takeKeys() error {
	keys, err := f.Keys()
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.Retired {
			f.Retired = append(f.Retired, k.Verifier)
		} else {
			f.Signers = append(f.Signers, k.signer)
		}
	}
	return nil
}

// readKeys reads each key file of a folder, Ed25519 keys first. A folder that does not exist has
// none. Files of other names, such as a temporary one that a crash left, are nobody's keys.
func readKeys(dir, origin string) (keys []Key, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), keyExtension) {
			continue
		}
		name := filepath.Join(dir, e.Name())
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		if info.Mode().Perm()&0o077 != 0 {
			return nil, fmt.Errorf("%s can be read by others (mode %04o): run 'chmod 600 %s', and think about who has read it", name, info.Mode().Perm(), name)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		s, err := checkpoint.ParseSignerKey(strings.TrimSuffix(string(b), "\n"))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		v := s.Verifier()
		if v.Name() != origin {
			return nil, fmt.Errorf("%s: the key is named %s, the log %s: it is another log's", name, v.Name(), origin)
		}
		if v.Algorithm() != checkpoint.Ed25519 && v.Algorithm() != checkpoint.MLDSA44 {
			return nil, fmt.Errorf("%s: a log does not sign with %v", name, v.Algorithm())
		}
		keys = append(keys, Key{Verifier: v, File: name, Added: info.ModTime(), signer: s})
	}
	slices.SortStableFunc(keys, func(a, b Key) int {
		if c := int(a.Verifier.Algorithm()) - int(b.Verifier.Algorithm()); c != 0 {
			return c
		}
		// Without the extension the name that init gives comes before all that AddKey gives.
		return strings.Compare(strings.TrimSuffix(a.File, keyExtension), strings.TrimSuffix(b.File, keyExtension))
	})
	return keys, nil
}

// AddKey makes a key that signs from the next start of the log on. It may be called while the
// log runs. A crash leaves the key, or nothing, or a temporary file that nobody reads.
func (f *Folder) AddKey(a checkpoint.Algorithm) (Key, error) {
	unlock, err := f.lockKeys()
	if err != nil {
		return Key{}, err
	}
	defer unlock()
	keys, err := f.Keys()
	if err != nil {
		return Key{}, err
	}
	if n := len(signing(keys, a)); n >= MaxKeys {
		return Key{}, fmt.Errorf("%d keys of type %v sign, which is the most: retire one first", n, a)
	}
	var s *checkpoint.SignerKey
	// Key ids have 32 bits only, and are not used again.
	for s == nil || slices.ContainsFunc(keys, func(k Key) bool { return k.Verifier.KeyID() == s.Verifier().KeyID() }) {
		if s, err = checkpoint.GenerateSigner(a, f.Origin, nil); err != nil {
			return Key{}, err
		}
	}
	name := filepath.Join(f.keyDir(), fmt.Sprintf("%s-%08x%s", keyWord(a), s.Verifier().KeyID(), keyExtension))
	if err := errors.Join(writeKey(name, s), f.giveToOwner(name)); err != nil {
		return Key{}, err
	}
	info, err := os.Stat(name)
	if err != nil {
		return Key{}, err
	}
	return Key{Verifier: s.Verifier(), File: name, Added: info.ModTime(), signer: s}, nil
}

// RetireKey moves the file of a key that signs to the retired ones; from the next start of the log
// on the key signs nothing. It may be called while the log runs. It refuses with ErrKeyNeeded
// when the key is the last Ed25519 key, or when the log was not started since the others of its
// type came: readers would be without a checkpoint by which to come from one to the other. A crash
// leaves the key where it was or retired.
func (f *Folder) RetireKey(id string, now time.Time) (Key, error) {
	unlock, err := f.lockKeys()
	if err != nil {
		return Key{}, err
	}
	defer unlock()
	keys, err := f.Keys()
	if err != nil {
		return Key{}, err
	}
	i := slices.IndexFunc(keys, func(k Key) bool { return k.ID() == id })
	if i < 0 {
		return Key{}, fmt.Errorf("%w: expected the key id of a key that signs, 8 digits as in its verifier key, found %q", ErrNoSuchKey, id)
	}
	k := keys[i]
	if k.Retired {
		return Key{}, fmt.Errorf("%w: %s is retired already", ErrNoSuchKey, id)
	}
	if err := f.replaceable(k, keys); err != nil {
		return Key{}, err
	}
	if err := os.Mkdir(f.retiredDir(), 0o700); err == nil {
		// The folder is durable before the only file of a key is in it.
		err = errors.Join(f.giveToOwner(f.retiredDir()), atomicfile.SyncDir(f.keyDir()))
		if err != nil {
			return Key{}, err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return Key{}, err
	}
	k.Retired, k.RetiredAt = true, now.UTC().Truncate(time.Second)
	name := fmt.Sprintf("%s-%s-%s%s", k.RetiredAt.Format(retiredTime), keyWord(k.Verifier.Algorithm()), id, keyExtension)
	old := k.File
	k.File = filepath.Join(f.retiredDir(), name)
	if err := os.Rename(old, k.File); err != nil {
		return Key{}, err
	}
	// The new name first: whatever a crash of the machine makes of the two folders, the key has one.
	if err := errors.Join(atomicfile.SyncDir(f.retiredDir()), atomicfile.SyncDir(f.keyDir())); err != nil {
		return Key{}, fmt.Errorf("%s was moved to %s, but a crash may undo that: %w", old, k.File, err)
	}
	return k, nil
}

// replaceable reports why k cannot be retired.
func (f *Folder) replaceable(k Key, keys []Key) error {
	others := slices.DeleteFunc(signing(keys, k.Verifier.Algorithm()), func(o Key) bool { return o.ID() == k.ID() })
	if len(others) == 0 {
		if k.Verifier.Algorithm() == checkpoint.Ed25519 {
			return fmt.Errorf("%w: %s is the last Ed25519 key, and a log signs with one: add another first", ErrKeyNeeded, k.ID())
		}
		return nil
	}
	// Each start of the log writes the file of the starts, after it has read its keys.
	info, err := os.Stat(f.StartsFile())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil || !slices.ContainsFunc(others, func(o Key) bool { return !o.Added.After(info.ModTime()) }) {
		return fmt.Errorf("%w: no other key of type %v has signed yet, because the log was not started since %s was added: start the log once first",
			ErrKeyNeeded, k.Verifier.Algorithm(), others[0].ID())
	}
	return nil
}

// signing are the keys of a type that sign.
func signing(keys []Key, a checkpoint.Algorithm) (out []Key) {
	for _, k := range keys {
		if !k.Retired && k.Verifier.Algorithm() == a {
			out = append(out, k)
		}
	}
	return out
}

// lockKeys makes changes by several processes happen one after the other.
func (f *Folder) lockKeys() (unlock func(), err error) {
	dir, err := os.Open(f.keyDir())
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(dir.Fd()), unix.LOCK_EX)
		if err == nil {
			return func() { dir.Close() }, nil
		}
		if err != unix.EINTR { // signals, of which the Go runtime sends many
			return nil, errors.Join(&fs.PathError{Op: "lock", Path: dir.Name(), Err: err}, dir.Close())
		}
	}
}

// giveToOwner gives a file to whom the keys folder belongs: the log must be able to read what an
// administrator made.
func (f *Folder) giveToOwner(name string) error {
	info, err := os.Stat(f.keyDir())
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	if int(owner.Uid) == os.Geteuid() {
		return nil
	}
	return os.Chown(name, int(owner.Uid), int(owner.Gid))
}

func writeKey(name string, k *checkpoint.SignerKey) error {
	return atomicfile.Write(name, []byte(k.Secret()+"\n"), 0o600)
}

// keyWord is what the names of a type's files begin with.
func keyWord(a checkpoint.Algorithm) string {
	if a == checkpoint.MLDSA44 {
		return "mldsa44"
	}
	return "ed25519"
}
