//go:build unix

package rig

// canHang tells whether a process can be stopped by a signal.
func canHang() bool { return true }
