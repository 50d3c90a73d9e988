package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A machine is what the figures were measured on.
type machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"` // that this program may use at once
	Memory     uint64 `json:"memory_bytes"`
	Kernel     string `json:"kernel"`
	Filesystem string `json:"filesystem"`
	Go         string `json:"go"`
	Platform   string `json:"platform"`
}

func thisMachine(dir string) (m machine, err error) {
	m = machine{Cores: runtime.GOMAXPROCS(0), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	cpu, err1 := os.ReadFile("/proc/cpuinfo")
	kernel, err2 := os.ReadFile("/proc/sys/kernel/osrelease")
	memory, err3 := kilobytes("/proc/meminfo", "MemTotal:")
	fs, err4 := filesystem(dir)
	m.CPU, m.Kernel, m.Memory, m.Filesystem = "unknown", strings.TrimSpace(string(kernel)), memory, fs
	for line := range strings.Lines(string(cpu)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	return m, errors.Join(err1, err2, err3, err4)
}

// line is for the head of a table.
func (m machine) line() string {
	return fmt.Sprintf("%s, %d cores, %d GiB, %s on %s, Linux %s, %s", m.CPU, m.Cores, (m.Memory+1<<29)>>30, m.Filesystem, m.Platform, m.Kernel, m.Go)
}

// filesystem is the type of the one that a folder is in.
func filesystem(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	best, kind := "", "unknown"
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		at := strings.TrimSuffix(f[1], "/") + "/"
		if strings.HasPrefix(dir+"/", at) && len(at) >= len(best) {
			best, kind = at, f[2]
		}
	}
	return kind, nil
}

// kilobytes is a line of some file in /proc, in bytes.
func kilobytes(file, name string) (uint64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == name && f[2] == "kB" {
			n, err := strconv.ParseUint(f[1], 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, name)
}

// blocks is what a folder takes on disk.
func blocks(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // Pebble has just removed it
		}
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			total += s.Blocks * 512
		}
		return err
	})
	return total, err
}

// usage is how many cores others kept busy, or the machine's owner kept from us.
type usage struct {
	children []int // processes of ours that are running
	began    time.Time
	all, own uint64 // ticks until then
	others   float64
	used     float64 // by ours
}

func (u *usage) start() { u.began, u.all, u.own = time.Now(), allTicks(), u.ownTicks() }

func (u *usage) stop() {
	const perSecond = 100 // USER_HZ, on all platforms of Linux that Go has
	own := float64(u.ownTicks() - u.own)
	ticks := perSecond * max(0.01, time.Since(u.began).Seconds())
	u.others, u.used = max(0, (float64(allTicks()-u.all)-own)/ticks), own/ticks
}

func (u *usage) ended(pid int) {
	u.children = slices.DeleteFunc(u.children, func(p int) bool { return p == pid })
}

// ownTicks are of this process, of its children that have ended, and of those that run.
func (u *usage) ownTicks() uint64 {
	total := ticks("/proc/self/stat", 13, 17)
	for _, pid := range u.children {
		total += ticks(fmt.Sprintf("/proc/%d/stat", pid), 13, 15)
	}
	return total
}

// ticks adds up fields of a stat file, counted from 0; none if there is no such file.
func ticks(file string, from, to int) (total uint64) {
	b, _ := os.ReadFile(file)
	// The second field is a name in parentheses, which may have spaces.
	_, rest, _ := bytes.Cut(b, []byte(") "))
	f := strings.Fields("0 0 " + string(rest))
	for i := from; i < min(to, len(f)); i++ {
		n, _ := strconv.ParseUint(f[i], 10, 64)
		total += n
	}
	return total
}

// allTicks are those in which some core was not idle: user, nice, system, irq, softirq, steal.
func allTicks() (total uint64) {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(b), "\n")
	f := strings.Fields(line)
	for _, i := range []int{1, 2, 3, 6, 7, 8} {
		if i < len(f) {
			n, _ := strconv.ParseUint(f[i], 10, 64)
			total += n
		}
	}
	return total
}
