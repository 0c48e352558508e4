//go:build !unix

package rig

// CanHang reports whether a process can be stopped by a signal.
func CanHang() bool { return false }
