//go:build !unix

package host

import "os"

func stopProcess(*os.Process) error   { return ErrCannotHang }
func resumeProcess(*os.Process) error { return ErrCannotHang }
