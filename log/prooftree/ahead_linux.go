package prooftree

import (
	"os"

	"golang.org/x/sys/unix"
)

const canReadAhead = true

// readAhead has the system begin to read a file, all of it if it is as small as tiles are. It is an advice, with no use for an
// error.
func readAhead(f *os.File) { unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_WILLNEED) }
