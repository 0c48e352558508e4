//go:build !unix

package rig

// CanHang tells whether a process can be stopped by a signal.
func CanHang() bool { return false }
