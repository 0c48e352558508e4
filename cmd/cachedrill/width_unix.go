//go:build unix

package main

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// lineWidth returns how many characters a line of a terminal has room for now; 0 if w is none.
func lineWidth(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}
