//go:build !linux

package slot

import "os"

// syncData is a whole sync: not every system has less, and macOS keeps its promise only with what package os does.
func syncData(f *os.File) error { return f.Sync() }
