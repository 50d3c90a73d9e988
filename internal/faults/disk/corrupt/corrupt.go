// Package corrupt is the fault campaign that damages the files of a log and of a witness that do not run: it flips a
// byte, cuts a file short, zeroes a page, removes a file, exchanges two, or puts back an older copy.
//
// What starts after that must refuse, or be unharmed, or say on reading that something is wrong. What it must never do is to
// show something else than what was logged, or to go on without what it had acknowledged.
package corrupt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pauselog/pauselog/internal/faults/campaign"
	"github.com/pauselog/pauselog/internal/faults/disk/faultfs"
)

// Campaign damages files.
var Campaign = campaign.Campaign{
	Name:  "corrupt",
	About: "every file of a log and a witness at rest × flipped byte, cut, zeroed page, removed, exchanged, older (the last two not of the lookup index, which only Pebble can tell): refused, harmless, or found on reading",
	Run: func(ctx context.Context, o campaign.Options) (campaign.Report, error) {
		return run(ctx, o, subjects, shortPerFile, nil)
	},
}

const (
	shortPerFile = 3   // damages of each sort that have a place in a file, in the short form
	longPerFile  = 150 // in the long form, of files that are larger than longWhole
	longWhole    = 600 // bytes: of smaller files every byte is flipped in the long form
)

// A subject is a set of files, and how to find out what damage to them does.
type subject struct {
	name  string
	files *vfs.MemFS
	older *vfs.MemFS // the same at an earlier time; nil if there are none
	try   func(*vfs.MemFS) error
}

// A maker makes subjects from a seed.
type maker func(seed uint64, r *campaign.Report) ([]subject, error)

// What a try comes to when all is well: nil is harmless.
var (
	errRefused = errors.New("refused")       // at the start
	errOnRead  = errors.New("found on read") // an error instead of an answer
)

// A damage is one to a set of files.
type damage struct {
	name string
	do   func(*vfs.MemFS) error
}

// damages are those to try, of each file the same sorts.
func (s *subject) damages(rnd *rand.Rand, long bool, perFile int) (all []damage, err error) {
	names, err := faultfs.Files(s.files, "/")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		b, err := faultfs.ReadFile(s.files, name)
		if err != nil {
			return nil, err
		}
		add := func(what string, change func([]byte) []byte) {
			all = append(all, damage{fmt.Sprintf("%s: %s %s", s.name, name, what), func(mem *vfs.MemFS) error {
				return faultfs.WriteFile(mem, name, change(slices.Clone(b)))
			}})
		}
		for _, at := range offsets(rnd, len(b), long, perFile) {
			bit := byte(1) << rnd.IntN(8)
			add(fmt.Sprintf("bit %#x of byte %d flipped", bit, at), func(b []byte) []byte { b[at] ^= bit; return b })
		}
		for _, n := range []int{0, len(b) / 2, len(b) - 1} {
			if n >= 0 && n < len(b) {
				add(fmt.Sprintf("cut to %d of %d bytes", n, len(b)), func(b []byte) []byte { return b[:n] })
			}
		}
		for range min(perFile, (len(b)+4095)/4096) {
			from := rnd.IntN((len(b)+4095)/4096) * 4096
			to := min(from+4096, len(b))
			if strings.Trim(string(b[from:to]), "\x00") != "" {
				add(fmt.Sprintf("zeroed from %d to %d", from, to), func(b []byte) []byte { clear(b[from:to]); return b })
			}
		}
		all = append(all, damage{fmt.Sprintf("%s: %s removed", s.name, name), func(mem *vfs.MemFS) error { return mem.Remove(name) }})
		all = append(all, s.others(rnd, names, name, b)...)
	}
	return all, nil
}

// others puts other files in the place of one.
func (s *subject) others(rnd *rand.Rand, names []string, name string, b []byte) (all []damage) {
	if s.older != nil && !strings.Contains(name, "/lookup/") {
		if old, err := faultfs.ReadFile(s.older, name); err == nil && string(old) != string(b) {
			all = append(all, damage{fmt.Sprintf("%s: %s replaced by an older copy", s.name, name), func(mem *vfs.MemFS) error {
				return faultfs.WriteFile(mem, name, old)
			}})
		}
	}
	if strings.Contains(name, "/lookup/") {
		return all // an older list of its tables is whole too, and only Pebble can tell; nothing rests on the index
	}
	var near []string
	for _, n := range names {
		if n != name && path.Dir(n) == path.Dir(name) {
			near = append(near, n)
		}
	}
	if len(near) == 0 {
		return all
	}
	other := near[rnd.IntN(len(near))]
	return append(all, damage{fmt.Sprintf("%s: %s and %s exchanged", s.name, name, other), func(mem *vfs.MemFS) error {
		o, err := faultfs.ReadFile(mem, other)
		if err != nil {
			return err
		}
		return errors.Join(faultfs.WriteFile(mem, name, o), faultfs.WriteFile(mem, other, b))
	}})
}

func offsets(rnd *rand.Rand, n int, long bool, perFile int) []int {
	if long && n <= longWhole || n <= perFile {
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		return all
	}
	if long {
		perFile = longPerFile
	}
	some := map[int]bool{}
	for len(some) < min(perFile, n) {
		some[rnd.IntN(n)] = true
	}
	return slices.Sorted(maps.Keys(some))
}

// run damages what makes makes. blind, if not nil, is a program that does not see what the subject sees.
func run(ctx context.Context, o campaign.Options, makes maker, perFile int, blind func(error) error) (r campaign.Report, err error) {
	subjects, err := makes(o.Seed, &r)
	if err != nil {
		return r, fmt.Errorf("seed %d: %w", o.Seed, err)
	}
	rnd := rand.New(rand.NewPCG(o.Seed, 3))
	harmless, onRead := 0, 0
	var unnoticed []error
	for _, s := range subjects {
		all, err := s.damages(rnd, o.Long, perFile)
		if err != nil {
			return r, err
		}
		for i, d := range all {
			if ctx.Err() != nil {
				break
			}
			mem := faultfs.Copy(s.files)
			if err := d.do(mem); err != nil {
				return r, fmt.Errorf("%s: %w", d.name, err)
			}
			r.Faults++
			err := s.try(mem)
			if blind != nil {
				err = blind(err)
			}
			switch {
			case err == nil:
				harmless++
			case errors.Is(err, errRefused):
				r.Refused++
			case errors.Is(err, errOnRead):
				onRead++
			default:
				count(&r, err)
				unnoticed = append(unnoticed, fmt.Errorf("%s: %w", d.name, err))
			}
			if i%500 == 499 {
				o.Progress("%s: %d of %d", s.name, i+1, len(all))
			}
		}
	}
	r.Notes = append(r.Notes, fmt.Sprintf("%d damages refused at the start, %d harmless, %d found on reading, %d not noticed", r.Refused, harmless, onRead, len(unnoticed)))
	if len(unnoticed) == 0 {
		return r, nil
	}
	for _, e := range unnoticed[1:min(len(unnoticed), 20)] {
		r.Notes = append(r.Notes, e.Error())
	}
	again := ""
	if o.Long {
		again = " -long"
	}
	return r, fmt.Errorf("%w (and %d more; again: -campaigns corrupt -seed %d%s)", unnoticed[0], len(unnoticed)-1, o.Seed, again)
}
