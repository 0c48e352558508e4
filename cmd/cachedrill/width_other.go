//go:build !unix

package main

import "io"

// lineWidth returns 0, for any length: such terminals wrap lines themselves.
func lineWidth(io.Writer) int { return 0 }
