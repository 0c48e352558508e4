package main

import (
	"io"
	"os"
	"runtime"
)

// isTerminal reports whether w is a terminal that can move its cursor.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" || runtime.GOOS == "windows" {
		return false
	}
	return isDevice(file)
}

// isDevice reports whether a file is a device with somebody before it, and not the one that
// swallows all.
func isDevice(file *os.File) bool {
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// canOpen reports whether a browser would be seen by the reader of w.
func canOpen(w io.Writer) bool {
	return isTerminal(w) && (runtime.GOOS == "darwin" || os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != "")
}
