//go:build !unix

package testutil

import "os"

func stopProcess(*os.Process) error   { return ErrCannotHang }
func resumeProcess(*os.Process) error { return ErrCannotHang }
